"""Capitals by log-likelihood, for models too small to reason: which of four is the capital of a country?

    The capital of France is   →   Paris, not Berlin, Madrid or Rome

The wrong answers are capitals of the same continent, the same for every run.
"""

import hashlib

from quantguard.benchmarks._benchmark import Benchmark
from quantguard.records import Sample

_NUM_CHOICES = 4
_CAPITALS = {
    "Africa": {
        "Algeria": "Algiers",
        "Angola": "Luanda",
        "Egypt": "Cairo",
        "Ethiopia": "Addis Ababa",
        "Ghana": "Accra",
        "Kenya": "Nairobi",
        "Libya": "Tripoli",
        "Morocco": "Rabat",
        "Mozambique": "Maputo",
        "Namibia": "Windhoek",
        "Rwanda": "Kigali",
        "Senegal": "Dakar",
        "Somalia": "Mogadishu",
        "Sudan": "Khartoum",
        "Tunisia": "Tunis",
        "Uganda": "Kampala",
        "Zambia": "Lusaka",
        "Zimbabwe": "Harare",
    },
    "America": {
        "Argentina": "Buenos Aires",
        "Brazil": "Brasília",
        "Canada": "Ottawa",
        "Chile": "Santiago",
        "Colombia": "Bogotá",
        "Costa Rica": "San José",
        "Cuba": "Havana",
        "Ecuador": "Quito",
        "Honduras": "Tegucigalpa",
        "Jamaica": "Kingston",
        "Mexico": "Mexico City",
        "Nicaragua": "Managua",
        "Paraguay": "Asunción",
        "Peru": "Lima",
        "Uruguay": "Montevideo",
        "Venezuela": "Caracas",
    },
    "Asia": {
        "Afghanistan": "Kabul",
        "Bangladesh": "Dhaka",
        "Cambodia": "Phnom Penh",
        "China": "Beijing",
        "India": "New Delhi",
        "Indonesia": "Jakarta",
        "Iran": "Tehran",
        "Iraq": "Baghdad",
        "Japan": "Tokyo",
        "Jordan": "Amman",
        "Laos": "Vientiane",
        "Lebanon": "Beirut",
        "Malaysia": "Kuala Lumpur",
        "Mongolia": "Ulaanbaatar",
        "Nepal": "Kathmandu",
        "Pakistan": "Islamabad",
        "the Philippines": "Manila",
        "Saudi Arabia": "Riyadh",
        "South Korea": "Seoul",
        "Syria": "Damascus",
        "Thailand": "Bangkok",
        "Turkey": "Ankara",
        "Uzbekistan": "Tashkent",
        "Vietnam": "Hanoi",
    },
    "Europe": {
        "Albania": "Tirana",
        "Austria": "Vienna",
        "Belgium": "Brussels",
        "Bulgaria": "Sofia",
        "Croatia": "Zagreb",
        "Denmark": "Copenhagen",
        "Estonia": "Tallinn",
        "Finland": "Helsinki",
        "France": "Paris",
        "Germany": "Berlin",
        "Greece": "Athens",
        "Hungary": "Budapest",
        "Iceland": "Reykjavik",
        "Ireland": "Dublin",
        "Italy": "Rome",
        "Latvia": "Riga",
        "Lithuania": "Vilnius",
        "the Netherlands": "Amsterdam",
        "Norway": "Oslo",
        "Poland": "Warsaw",
        "Portugal": "Lisbon",
        "Romania": "Bucharest",
        "Russia": "Moscow",
        "Serbia": "Belgrade",
        "Slovakia": "Bratislava",
        "Slovenia": "Ljubljana",
        "Spain": "Madrid",
        "Sweden": "Stockholm",
        "Switzerland": "Bern",
        "Ukraine": "Kyiv",
    },
}


def load() -> Benchmark:
    """Make the 88 items."""
    return Benchmark(
        name="capitals",
        description="multiple choice by log-likelihood: the capitals of 88 countries",
        licence="Apache-2.0",
        task="choice",
        samples=tuple(_sample(country, continent) for continent, known in _CAPITALS.items() for country in known),
        default_subset=88,
        stratum="continent",
    )


def _sample(country: str, continent: str) -> Sample:
    known = _CAPITALS[continent]
    others = sorted(
        (other for other in known if other != country),
        key=lambda other: hashlib.sha256(f"{country}:{other}".encode()).digest(),
    )
    choices = sorted([known[country], *(known[other] for other in others[: _NUM_CHOICES - 1])])
    return Sample(
        id=country.removeprefix("the ").replace(" ", "-").lower(),
        input=f"The capital of {country} is",
        target=known[country],
        metadata={"continent": continent, "choices": choices},
    )
