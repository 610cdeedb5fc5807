"""What stands in the forms: names, addresses and companies in varied spellings, with gaps."""

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from leadscore.simulate.people import People
from leadscore.simulate.planted import BUYER, COUNTRIES, INDUSTRIES, SEGMENTS, SOURCES, TITLES, column
from leadscore.simulate.scene import Scene

HIDDEN_MISSING = "unknown"
# share of titles up to here, and what becomes of the spelling
_SPELLINGS: tuple[tuple[float, Callable[[str], str]], ...] = (
    (0.12, str.lower),
    (0.20, str.upper),
    (0.25, lambda text: f" {text} "),
    (0.30, lambda text: text.replace(" ", "  ")),
    (1.00, str),
)
# how a person spells e-mail and phone the second time
_RESPELL: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str.upper, lambda phone: phone.replace(" ", "")),
    (lambda email: f" {email.title()} ", lambda phone: "00" + phone[1:].replace(" ", "-")),
    (lambda email: email.replace("@", "+demo@"), lambda phone: phone.replace(" 555 ", " (555) ")),
)
_FIRST_NAMES = (
    "Alvo", "Brisa", "Cendra", "Dorin", "Elva", "Ferin", "Galia", "Hanno", "Ilse", "Jorin", "Kaela",
    "Lumo", "Mirel", "Nadja", "Orlo", "Petra", "Quin", "Runa", "Silvan", "Tavo", "Ulla", "Vesna", "Wim",
    "Xenia", "Yorik", "Zoë",
)  # fmt: skip
_LAST_NAMES = (
    "Ambrel", "Brindel", "Corvane", "Dastrel", "Ennik", "Falkor", "Gromley", "Haldane", "Istrel", "Jandor",
    "Kestrin", "Lorvane", "Morvek", "Nystrel", "Ostrin", "Pelgar", "Quarrel", "Rostin", "Skandel",
    "Tarvel", "Umbrin", "Voskamp", "Wendrel", "Yarvin", "Zeltner", "O'Mirren", "van Telk", "Müllrath",
)  # fmt: skip
_COMPANY_WORDS = (
    ("Norv", "Alter", "Brem", "Castr", "Duv", "Est", "Fenn", "Gard", "Helm", "Iv", "Jun", "Kron", "Lark",
     "Mondr", "Nov", "Orst", "Palm", "Quist", "Riv", "Solv", "Tresc", "Ulm", "Vant", "Wend", "Yarr", "Zell"),
    ("ik", "era", "ond", "el", "all", "aro", "ick", "an", "in", "ella", "om"),
    ("Components", "Logistics", "Foods", "Systems", "Stores", "Pharma", "Metals", "Textiles", "Media"),
    ("GmbH", "Ltd", "Inc.", "B.V.", "S.A.", "& Sons", "AG"),
)  # fmt: skip
_FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "gmx.de", "hotmail.com", "web.de")


def attributes(scene: Scene) -> dict[str, pa.Array]:
    """Fill in the forms: varied spellings, gaps, and other spellings where a person came twice."""
    rng, people = scene.rng, scene.people
    sloppy = np.where(people.segment == BUYER, 1.0, 1.8)

    def with_gaps(values: NDArray[Any] | list[str], share: float) -> pa.Array:
        return pa.array(values, mask=rng.random(len(values)) < share * sloppy)

    emails, phones = _addresses(scene)
    industry = column(INDUSTRIES, "name")[people.industry]
    industry[rng.random(len(people)) < 0.10 * sloppy] = HIDDEN_MISSING
    lots = zip(people.source.tolist(), rng.random(len(people)).tolist(), strict=True)
    campaigns = [c[int(lot * len(c))] if (c := SOURCES[source].campaigns) else None for source, lot in lots]
    return {
        "email": pa.array(emails),
        "phone": with_gaps(phones, 0.45),
        "job_title": with_gaps(_titles(scene), 0.09),
        "company": with_gaps(_companies(people), 0.08),
        "industry": with_gaps(industry, 0.05),
        "company_size": with_gaps(people.headcount.astype(np.int64), 0.18),
        "country": with_gaps(column(COUNTRIES, "name")[people.country], 0.04),
        "source": pa.array(column(SOURCES, "name")[people.source]),
        "campaign": pa.array(campaigns, pa.string()),
    }


def _companies(people: People) -> list[str]:
    names = []
    for segment, code in zip(people.segment.tolist(), people.company.tolist(), strict=True):
        own = SEGMENTS[segment].companies
        names.append(own[code % len(own)] if own else " ".join(_company(code)))
    return names


def _company(code: int) -> tuple[str, str, str]:
    """Name a company: made-up name, trade and legal form, all different for the first 18,018."""
    more, code = divmod(code, 18_018)
    code = code * 7919 % 18_018  # 7919 is prime: neighbours do not look alike
    parts = []
    for words in _COMPANY_WORDS:
        code, k = divmod(code, len(words))
        parts.append(words[k])
    return parts[0] + parts[1] + (str(more) if more else ""), parts[2], parts[3]


def _titles(scene: Scene) -> list[str]:
    people = scene.people
    lots = scene.rng.random((len(people), 2)).tolist()
    titles = []
    for segment, title, (word, spelling) in zip(
        people.segment.tolist(), people.title.tolist(), lots, strict=True
    ):
        words = SEGMENTS[segment].titles or TITLES[title].spellings
        respell = next(change for share, change in _SPELLINGS if spelling < share)
        titles.append(respell(words[int(word * len(words))]))
    return titles


def _addresses(scene: Scene) -> tuple[list[str], list[str]]:
    """E-mail and phone, one of each a person; a duplicate spells them in another way."""
    rng, people = scene.rng, scene.people
    n = len(people)
    first, last = rng.integers(len(_FIRST_NAMES), size=n), rng.integers(len(_LAST_NAMES), size=n)
    free = rng.random(n) < column(SEGMENTS, "free_mail")[people.segment]
    provider, spelling = rng.integers(len(_FREE_MAIL), size=n), rng.integers(len(_RESPELL), size=n)
    emails: list[str] = []
    phones: list[str] = []
    taken: set[str] = set()
    for row, original in enumerate(people.original.tolist()):
        if original >= 0:
            email, phone = _RESPELL[spelling[row]]
            emails.append(email(emails[original]))
            phones.append(phone(phones[original]))
            continue
        name = _address_part(f"{_FIRST_NAMES[first[row]]}.{_LAST_NAMES[last[row]]}")
        domain = _address_part("-".join(_company(int(people.company[row]))[:2])) + ".example"
        address = f"{name}@{domain}"
        if free[row] or address in taken:
            address = f"{name}.{row}@{_FREE_MAIL[provider[row]] if free[row] else domain}"
        taken.add(address)
        emails.append(address)
        phones.append(f"+{COUNTRIES[people.country[row]].dialling_code} 555 {row:07d}")
    return emails, phones


def _address_part(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(c for c in plain if c.isalnum() or c in ".-")
