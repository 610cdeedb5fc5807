"""Job titles and e-mail domains as a person would read them."""

import pytest

from leadscore.features.words import (
    DEPARTMENTS,
    DOMAIN_KINDS,
    SENIORITIES,
    department,
    email_domain_kind,
    seniority,
)


@pytest.mark.parametrize(
    ("title", "level", "where"),
    [
        ("CEO", "c_level", "management"),
        ("Co-Founder & CTO", "c_level", "it"),
        ("C.I.O.", "c_level", "it"),
        ("Chief Financial Officer", "c_level", "finance"),
        ("President", "c_level", "management"),
        ("Vice President of Operations", "vp", "operations"),
        ("V.P. Ops", "vp", "operations"),
        ("SVP, Marketing", "vp", "marketing"),
        ("Managing Director", "c_level", "management"),
        ("Director of IT", "director", "it"),
        ("head of supply chain", "director", "operations"),
        ("Senior IT Manager", "manager", "it"),
        ("Team Lead Customer Success", "manager", "support"),
        ("Key Account Manager", "manager", "sales"),
        ("Product Owner", "specialist", "product"),
        ("Sr. Software Engineer", "senior", "it"),
        ("Process Engineer", "specialist", "operations"),
        ("Mechanical Engineer", "specialist", "engineering"),
        ("Account Executive", "specialist", "sales"),
        ("Executive Assistant to the CEO", "junior", "administration"),
        ("Junior Recruiter", "junior", "hr"),
        ("Marketing Intern", "intern", "marketing"),
        ("PhD Student", "intern", "research"),
        ("Geschäftsführerin", "c_level", "management"),
        ("asdf", None, None),
        ("Internal Affairs", None, None),  # "intern" is only a part of a word
        ("", None, None),
        ("=cmd|' /C calc'!A0 " * 100, None, None),
    ],
)
def test_titles(title, level, where):
    assert (seniority(title), department(title)) == (level, where)
    assert (seniority(title.upper()), department(f"  {title}  ")) == (level, where)
    assert {level} <= {None, *SENIORITIES}
    assert {where} <= {None, *DEPARTMENTS}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ann@acme.com", "company"),
        ("ann@mail.acme.com", "company"),
        ("ann@outlook.acme.com", "company"),
        ("ann@mygmail.com", "company"),
        ("acme.co.uk", "company"),
        ("bob@gmail.com", "free"),
        ("Bob@Yahoo.CO.UK", "free"),
        ("bob@hotmail.de", "free"),
        ("bob@web.de", "free"),
        ("gmail.com", "free"),
        ("gmail", None),
        ("n/a", None),
        ("ann@", None),
        ("ann at acme.com", None),
        ("@", None),
        ("", None),
    ],
)
def test_domains(text, kind):
    assert email_domain_kind(text) == kind
    assert {kind} <= {None, *DOMAIN_KINDS}
