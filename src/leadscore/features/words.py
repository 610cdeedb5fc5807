"""Words that tell what a job title or an e-mail domain means: the first entry that matches wins."""

import re
from functools import lru_cache

Words = tuple[tuple[str, str], ...]

# Order matters: "Executive Assistant to the CEO" is no CEO, a vice president is no president, and a product
# owner owns no company.
_SENIORITY: Words = (
    (
        "junior",
        "assistant to, executive assistant, personal assistant, administrative assistant, office "
        "assistant, secretary, assistentin, sekretärin",
    ),
    (
        "intern",
        "intern, internship, trainee, apprentice, praktikant, praktikantin, werkstudent",
    ),
    ("specialist", "product owner"),
    ("vp", "vp, svp, evp, avp, vice president"),
    (
        "c_level",
        "chief, ceo, cfo, cto, cmo, coo, cio, ciso, cro, cpo, chro, cdo, cxo, president, founder, "
        "cofounder, owner, proprietor, chairman, chairwoman, chair, managing director, managing partner, "
        "geschäftsführer, geschäftsführerin, inhaber",
    ),
    ("director", "director, head, general manager, dean, leiter, leiterin, directeur, directrice"),
    ("manager", "manager, mgr, lead, leader, supervisor, superintendent, teamleiter"),
    ("senior", "senior, sr, principal, staff"),
    ("junior", "junior, jr, assistant, associate, clerk, entry level"),
    ("intern", "student, studentin, werkstudentin"),
    (
        "specialist",
        "specialist, engineer, developer, programmer, analyst, consultant, advisor, administrator, admin, "
        "coordinator, executive, representative, rep, officer, planner, buyer, designer, architect, "
        "scientist, researcher, marketer, accountant, controller, auditor, technician, recruiter, expert, "
        "professional, lawyer, attorney, counsel, nurse, physician, teacher, lecturer, professor",
    ),
)

_DEPARTMENT: Words = (
    (
        "administration",
        "assistant to, executive assistant, personal assistant, administrative assistant, office "
        "assistant, secretary, office manager, assistentin, sekretärin",
    ),
    (
        "marketing",
        "marketing, marketer, cmo, brand, seo, content, growth, communications, public relations, "
        "advertising, social media, demand generation",
    ),
    (
        "sales",
        "sales, account manager, account executive, key account, business development, bdr, sdr, cro, "
        "revenue, vertrieb",
    ),
    ("hr", "hr, human resources, people, talent, recruiter, recruiting, recruitment, chro"),
    (
        "finance",
        "finance, financial, accounting, accountant, controller, controlling, cfo, treasurer, treasury, "
        "audit, auditor, tax",
    ),
    ("legal", "legal, lawyer, attorney, counsel, compliance, paralegal"),
    ("procurement", "procurement, purchasing, buyer, sourcing, einkauf"),
    ("support", "support, customer success, customer service, client services, helpdesk"),
    ("product", "product, ux, user experience"),
    (
        "it",
        "it, cio, cto, ciso, information, informatique, software, developer, programmer, system, systems, "
        "data, cyber, security, network, infrastructure, devops, cloud, technology, digital, business "
        "analyst",
    ),
    (
        "operations",
        "operations, ops, coo, supply chain, supply, logistics, logistik, warehouse, production, plant, "
        "manufacturing, process, quality, maintenance, planner, project manager, facility, facilities",
    ),
    ("engineering", "engineer, engineering, technical, architect, technician"),
    (
        "research",
        "research, researcher, scientist, science, professor, lecturer, teacher, student, studentin, phd, "
        "msc",
    ),
    (
        "management",
        "ceo, founder, cofounder, owner, president, proprietor, managing director, managing partner, "
        "general manager, chairman, chairwoman, geschäftsführer, geschäftsführerin, inhaber",
    ),
)

# Providers under many endings (yahoo.com, yahoo.co.uk), and whole domains.
_FREE_PROVIDERS = (
    "gmail, googlemail, yahoo, ymail, rocketmail, hotmail, outlook, live, msn, icloud, aol, gmx, yandex, "
    "proton, protonmail, zoho, zohomail, fastmail, tutanota, rediffmail, hushmail"
)
_FREE_DOMAINS = (
    "mail.com, mail.ru, email.com, inbox.com, web.de, t-online.de, freenet.de, arcor.de, me.com, mac.com, "
    "pm.me, hey.com, qq.com, 163.com, 126.com, sina.com, naver.com, daum.net, orange.fr, free.fr, "
    "laposte.net, wanadoo.fr, libero.it, tiscali.it, wp.pl, o2.pl, onet.pl, interia.pl, seznam.cz, ukr.net, "
    "bk.ru, list.ru, inbox.ru, rambler.ru, uol.com.br, bol.com.br, terra.com.br, btinternet.com, sky.com, "
    "comcast.net, verizon.net, att.net, sbcglobal.net, cox.net, bluewin.ch, ziggo.nl, kpnmail.nl, "
    "telenet.be, skynet.be"
)


def _labels(table: Words) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for label, _ in table))


SENIORITIES = _labels(_SENIORITY)
DEPARTMENTS = _labels(_DEPARTMENT)
DOMAIN_KINDS = ("company", "free")


def _any_of(words: str) -> str:
    return "(?:" + "|".join(map(re.escape, words.split(", "))) + ")"


def _patterns(table: Words) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((label, re.compile(rf"\b{_any_of(words)}\b")) for label, words in table)


_SENIORITY_PATTERNS = _patterns(_SENIORITY)
_DEPARTMENT_PATTERNS = _patterns(_DEPARTMENT)
_FREE = re.compile(rf"{_any_of(_FREE_PROVIDERS)}\.(?:(?:co|com|net|org)\.)?[a-z]+|{_any_of(_FREE_DOMAINS)}")


@lru_cache(maxsize=65536)
def seniority(title: str) -> str | None:
    """Tell the seniority that a job title speaks of, one of `SENIORITIES`; None when no word is known.

    Examples
    --------
    >>> seniority("Vice President, Marketing"), seniority("Executive Assistant to the CEO"), seniority("asdf")
    ('vp', 'junior', None)
    """
    return _first(_SENIORITY_PATTERNS, title)


@lru_cache(maxsize=65536)
def department(title: str) -> str | None:
    """Tell the department that a job title speaks of, one of `DEPARTMENTS`; None when no word is known.

    Examples
    --------
    >>> department("C.I.O."), department("Head of Supply Chain"), department("Manager")
    ('it', 'operations', None)
    """
    return _first(_DEPARTMENT_PATTERNS, title)


@lru_cache(maxsize=65536)
def email_domain_kind(text: str) -> str | None:
    """Tell whether an e-mail address, or a domain, is a company's or a free provider's, or neither.

    Examples
    --------
    >>> email_domain_kind("ann@acme.example"), email_domain_kind("Bob@Yahoo.co.uk"), email_domain_kind("n/a")
    ('company', 'free', None)
    """
    domain = text[-320:].rpartition("@")[2].strip().casefold().rstrip(".")
    if not re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", domain):
        return None
    return "free" if _FREE.fullmatch(domain) else "company"


def _first(patterns: tuple[tuple[str, re.Pattern[str]], ...], title: str) -> str | None:
    text = re.sub(r"[\W_]+", " ", title[:200].casefold().replace(".", ""))
    return next((label for label, pattern in patterns if pattern.search(text)), None)
