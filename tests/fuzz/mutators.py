"""Changes that keep enough of an input for the next one to get further."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Mutate = Callable[[bytes, int], bytes]

_PLAIN = 0.4  # a share of changes that know nothing of what the bytes are
TOKENS = [
    *("\r\n", "\r", "\n\n", "\0", "\ufeff", "°", "\u2028", "\x1c", "\x85", "\ud800", "\u202e"),
    *(";", ",", "\t", "|", " ", ":", '"', '""', "'", "=", "#", "//", "%"),
    *("2026-01-25T23:59:59Z", "2026-01-26 00:00:00", "25.01.2026", "01/25/2026", "20260125"),
    *("23:59:60", "24:00:00", "12:00:00 PM", "0001-01-01", "9999-12-31T23:59:59-18:00", "-0001"),
    *("2026-03-29T02:30:00", "2025-10-26T02:30:00", "+02:00", "GMT+02:00", "CET", "EST", "Z"),
    *("1769385599", "1769385599000", "1769385599.5", "46047.5", "2026-13-45", "2024-02-29"),
    *("ts", "date", "time", "Date Time, GMT+02:00", "TOA5", "Plot Title: 1", "TIMESTAMP", "TS"),
    *("m0:1", "m1:", ":1", "m0:1e400", "m0:-0", "m01:1", "outdoor_temp:1.5", "a:b:c", "m0"),
    *(
        "nan",
        "inf",
        "-9999",
        "1e309",
        "9223372036854775808",
        "0x1F",
        "1,5",
        "1.234,5",
        "NA",
        "\u0661",
    ),
    *("temp °C", "°C", "[mV]", "Volts", "Avg", "(C)", "\n=====\n"),
    *("<row>", "<c><v>1</v></c>", '<c t="s"><v>9</v></c>', '<c s="1"><v>46047.5</v></c>'),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1e308, 2**63, 10**30, float("nan"), "", "x" * 300, [], {}, [[]]),
    *("..", "/", "a/../b", ".", "\0", "\n", "\x1b[31m", "\ud800", "\u202e", "CON", "a|b", "*", "["),
    *("00_raw", "10_parsed", "20_clean", "quarantine", "parse", "clean", "resample", "transform"),
    *("normalize", "aggregate", "exportcsv", "exportparquet", "to_duckdb", "to_postgres", "raw"),
    *("@daily", "0 3 * * *", "0 0 31 2 *", "60 * * * *", "Europe/Paris", "2026-01-25T00:00:00Z"),
    *("9999-12-31T23:59:59-18:00", "10s", "1h", "0s", "-1s", "5min", "1e9h", "bio_signal", "csv"),
    *("dataset/../x", "dataset/00_raw/x.csv", "flows/f.json", "treatments/t.py", "manifest.json"),
    *("catalog.json", "dataset/.x", "dataset/a", "dataset/a/b", "\\", "nul\0", "é", "e\u0301"),
    *({"env": "HOME"}, {"env": ""}, {"columns": ["*"]}, {"domain": "bio_signal"}, {"x": 1}),
]
NAMES = [
    *("name", "dataset", "datasets", "params", "steps", "treatment", "input", "output", "from"),
    *("to", "start", "labels", "schedule", "cron", "timezone", "overrides", "notify", "removed"),
    *("settle_seconds", "refresh_minutes", "lookback_days", "description", "windows", "metrics"),
    *("freq", "max_gap_fill_s", "long_gaps", "mask", "transforms", "function", "target", "mode"),
    *("domains", "prefix", "columns", "dtype", "rename", "delimiter", "format", "device_pattern"),
    *("min_value", "max_value", "spike_window", "spike_threshold", "decimals", "span", "layout"),
    *("table_template", "password", "url", "host", "fit", "method", "column_patterns", "round"),
    *("members", "manifest", "data", "type", "link", "mtime", "mode", "size", "pax", "first"),
    *("delimiter", "headers", "names", "units", "timestamp_columns", "date_orders", "decimal"),
    *("kind", "project", "created", "with_stages", "flows", "counts", "sha256", "path", "linkpath"),
]


def mutated_lines(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    rng = random.Random(seed)
    if rng.random() < _PLAIN:
        return mutate(data, most)
    start, rest = data[:1], data[1:]
    lines = rest.split(b"\n")
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(lines))
        token = rng.choice(TOKENS).encode(errors="surrogatepass")
        match rng.randrange(7):
            case 0:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                cut = rng.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:cut] + token + lines[at][cut:]
            case 4:
                lines[at] = token
            case 5:
                mark = rng.choice([b";", b",", b"\t", b" ", b":"])
                fields = lines[at].split(mark)
                fields[rng.randrange(len(fields))] = token
                lines[at] = mark.join(fields)
            case _:
                start = bytes([ord("0") + rng.randrange(32)])
    return (start + b"\n".join(lines))[:most]


def mutated_json(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    rng = random.Random(seed)
    try:
        whole = [json.loads(data)]
    except (ValueError, RecursionError):
        return mutate(data, most)
    if rng.random() < _PLAIN / 4:
        return mutate(data, most)
    try:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            _change(whole, rng)
        text = json.dumps(whole[0])
    except RecursionError:
        return mutate(data, most)
    return text.encode() if len(text) <= most else data


def _change(whole: list[Any], rng: random.Random) -> None:
    places = list(_places(whole))
    node, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            node[key] = _value(rng)
        case 1:
            other, other_key = rng.choice(places)
            node[key] = json.loads(json.dumps(other[other_key]))
        case 2 if node is not whole:
            del node[key]
        case 3 if isinstance(node, dict):
            node[rng.choice([*NAMES, *(v for v in VALUES if isinstance(v, str))])] = node[key]
        case 4 if isinstance(node, list):
            node.insert(key, json.loads(json.dumps(node[key])))
        case _ if isinstance(node[key], str):
            text, token = node[key], rng.choice([v for v in VALUES if isinstance(v, str)])
            at = rng.randrange(len(text) + 1)
            node[key] = text[:at] + token + text[at:]
        case _ if isinstance(node[key], dict):
            node[key][rng.choice(NAMES)] = _value(rng)
        case _ if isinstance(node[key], list):
            node[key].append(_value(rng))
        case _:
            node[key] = rng.choice([_value(rng), rng.randrange(-(2**40), 2**40), rng.random()])


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(VALUES))


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])
