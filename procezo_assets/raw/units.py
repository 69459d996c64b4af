"""What reads as a unit in a header: a base with a prefix and a power, joined by `/`, `·` or `*`."""

from __future__ import annotations

import re

_TAKES_A_PREFIX = """
m g s A K mol cd Hz N Pa J W V F S bar l L eq lx lux var VA Wh Ah cal E
"""
_STANDS_ALONE = """
% ‰ ° ' " *C *F °C ℃ ºC °F ℉ ºF °K C F degC degF deg_C deg_F degK deg degT degM degree degrees
celsius fahrenheit kelvin Ω ohm ohms kohm Mohm in inch inches ft feet foot yd mi mile miles nmi
min mins h hr hrs hour hours d day days wk week yr year sec secs second seconds minute minutes
meter meters metre metres liter liters litre litres gram grams t ha a kn kt kts knot knots
mph kmh kph fps m/s psi psia psig atm inHg mmHg cmH2O mmH2O inH2O torr volt volts millivolt
millivolts mvolt mvolts amp amps ampere amperes milliamps watt watts pascal pascals kilopascal
kilopascals hectopascal hectopascals millibar millibars
MHz GHz MPa GPa MW GW MJ GJ MV MWh GWh MVA Mvar mT µT uT nT
%RH RH% %vol vol% %sat %VWC ppm ppb ppt ppmv ppbv psu PSU pss NTU FNU FTU JTU dB dBA dBm rpm
RPM counts count count/min cfs gpm mgd MGD rad sr Bq Sv Gy unitless ratio dimensionless pfu cfu
"""
_EXPONENT = r"(?:\^?[-\u2212]?[0-9](?![0-9])|\*\*[-\u2212]?[0-9]|[⁻]?[¹²³⁴])?"
_PREFIX = "(?:da|[munpµμkhcd])?"
_BASES = "|".join(
    [f"{_PREFIX}(?:{'|'.join(_TAKES_A_PREFIX.split())})"]
    + [re.escape(unit) for unit in sorted(_STANDS_ALONE.split(), key=len, reverse=True)]
)
_TERM = rf"(?:{_BASES}){_EXPONENT}"
_UNIT = re.compile(rf"(?:1/)?{_TERM}(?:\s*[/·*⋅\u00d7. ]\s*{_TERM})*")
_WORDS = re.compile(
    r"(?:deg(?:rees?)?\.?|°|º)\s*(?:[cfk]|celsius|fahrenheit|true|north)"
    r"|(?:watts?|w)/(?:meter|m)\^?2|(?:meters?|miles?|feet)/(?:second|hour|s|h)",
    re.IGNORECASE,
)
_SHORT = 3  # letters; longer ones are words, with a capital or not
# letters that name a phase, a channel or a sensor at least as often as a unit
_DOUBTFUL = frozenset({"a", "A", "d", "E", "N", "S", "T", "t", "'", '"', "in", "min", "count"})


def marks_unit(text: str) -> bool:
    """Tell whether a word behind a name can only be a unit: `°C` and `%`, but not `in`."""
    return bool(set("°%µμ²³/") & set(text)) and is_unit(text)


def is_unit(text: str) -> bool:
    """Tell whether a text in a header is a unit, such as `°C`, `m³/s` or `µmol m-2 s-1`."""
    trimmed = text.strip()
    if not trimmed or trimmed in _DOUBTFUL:
        return False
    spelt_out = len(trimmed) > _SHORT and trimmed.lower() in _STANDS_ALONE.split()
    return bool(_UNIT.fullmatch(trimmed) or _WORDS.fullmatch(trimmed) or spelt_out)
