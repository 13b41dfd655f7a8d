"""One override whose value is a sweep, in Hydra's grammar, as a dimension of a search space."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vertiform.cli.compose import CONF
from vertiform.errors import ConfigError, did_you_mean
from vertiform.sweeps.dimensions import Choice, Dimension, Float, Int, Value, short

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

SWEEPS = "interval(low, high), range(start, stop), choice(a, b, c) or a,b,c"
MOST_FRACTIONS = 10_000  # of a range with fractions; each is made to count them
LOG = "log"  # the one tag that says something here


def parsed(text: str) -> "Override":
    """Read an override by Hydra's own parser; raises ConfigError for what is none."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise _not_read(text, str(error)) from error


def key_of(override: "Override") -> str:
    """The key as it stands on a command line: `optimizer.lr`, `start@starts.domain`."""
    return override.get_key_element()


def dimension_of(override: "Override") -> Dimension:
    """The dimension that a sweep override asks for.

    Raises ConfigError for a value that is no sweep, and for one from which nothing can be chosen.
    """
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    key, text = key_of(override), str(override.input_line)
    if key.startswith(("+", "~")):
        bare = key.lstrip("+~")
        raise ConfigError(
            f"`{text}` searches a key that the configuration does not have.",
            fix=f"give it a value first (+{bare}=...), and search `{bare}`.",
        )
    value = override.value()
    if isinstance(value, Glob):
        return _choice(key, list(_globbed(key, value, text)), text)
    if isinstance(value, ChoiceSweep):
        return _choice(key, _options(value, text), text)
    if isinstance(value, IntervalSweep):
        return _interval(key, value, text)
    if isinstance(value, RangeSweep):
        return _range(key, value, text)
    raise ConfigError(
        f"`{text}` is one value: there is nothing to search.",
        fix=f"write {SWEEPS}; or give it as an override, outside of the search.",
    )


def _options(sweep: Any, text: str) -> list[Value]:
    from hydra.core.override_parser.types import QuotedString

    _refuse_order(sweep, text)
    _is_log(sweep, text, allowed=False)
    return [option.text if isinstance(option, QuotedString) else option for option in sweep.list]


def _globbed(key: str, glob: "Glob", text: str) -> list[str]:
    group = CONF / key.partition("@")[0]
    if not group.is_dir():
        raise ConfigError(
            f"`{text}` asks for the choices of a group, and conf/ has no group `{group.name}`.",
            fix="name them: choice(a, b, ...).",
        )
    return glob.filter(sorted(file.stem for file in group.glob("*.yaml")))


def _choice(key: str, options: list[Any], text: str) -> Choice:
    for position, option in enumerate(options):
        if isinstance(option, list | dict) or "${" in str(option):
            raise ConfigError(
                f"`{text}` has the option {option}, and a trial keeps plain values alone.",
                fix="name numbers, words, true, false or null as options.",
            )
        if isinstance(option, float) and not math.isfinite(option):
            raise _not_finite(text)
        if option in options[:position]:
            raise ConfigError(
                f"`{text}` has the option {short(option)} twice.", fix="leave it out once."
            )
    if len(options) < 2:
        raise _too_few(text, options)
    return Choice(key, tuple(options))


def _interval(key: str, sweep: "IntervalSweep", text: str) -> Dimension:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _not_finite(text)
    if low >= high:
        raise ConfigError(
            f"`{text}` is empty: {short(low)} is not below {short(high)}.",
            fix=f"write interval({short(high)}, {short(low)})."
            if low > high
            else f"give {key}={short(low)} as an override, or widen the interval.",
        )
    is_log = _is_log(sweep, text)
    _refuse_log_of_nothing(low, text, is_log=is_log)
    if isinstance(low, int) and isinstance(high, int):  # int(interval(low, high))
        return Int(key, low, high, is_log=is_log)
    return Float(key, float(low), float(high), is_log=is_log)


def _range(key: str, sweep: "RangeSweep", text: str) -> Dimension:
    _refuse_order(sweep, text)
    listed = _listed(sweep, text)
    if len(listed) < 2:
        raise _too_few(text, list(listed))
    low, high = sorted((listed[0], listed[-1]))
    step, is_log = abs(sweep.step), _is_log(sweep, text)
    _refuse_log_of_nothing(low, text, is_log=is_log)
    if isinstance(listed, range) and (step == 1 or not is_log):
        return Int(key, int(low), int(high), step=int(step), is_log=is_log)
    if is_log:
        raise ConfigError(
            f"`{text}` has steps on a log scale, where they would not be alike.",
            fix=f"write tag(log, interval({short(low)}, {short(high)})), or choice(8, 16, 32).",
        )
    return _stepped(key, low=low, step=float(step), count=len(listed))


def _listed(sweep: "RangeSweep", text: str) -> Sequence[float]:
    """The values of a range in its order, as Hydra would list them."""
    start, stop, step = sweep.start, sweep.stop, sweep.step
    assert start is not None
    assert stop is not None
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        raise ConfigError(f"`{text}` never ends.", fix="give a step other than 0, and finite ends.")
    listed = sweep.range()
    if isinstance(listed, range):
        return listed
    if (stop - start) / step > MOST_FRACTIONS:
        raise ConfigError(
            f"`{text}` has over {MOST_FRACTIONS:,} values.", fix="write interval(low, high)."
        )
    return list(listed)


def _stepped(key: str, *, low: float, step: float, count: int) -> Float:
    grid = Float(key, low, low + step * (count - 1), step=step)
    high = grid.value_of(grid.high)
    assert isinstance(high, float)
    return Float(key, low, high, step=step)


def _is_log(sweep: Any, text: str, *, allowed: bool = True) -> bool:
    for tag in sorted(sweep.tags):
        if tag != LOG:
            raise ConfigError(f"`{text}` has the tag `{tag}`.", fix=did_you_mean(tag, [LOG]))
        if not allowed:
            raise ConfigError(
                f"`{text}` puts a choice on a log scale, and a choice has no scale.",
                fix="leave out the tag, or write tag(log, interval(low, high)).",
            )
    return LOG in sweep.tags


def _refuse_log_of_nothing(low: float, text: str, *, is_log: bool) -> None:
    if is_log and low <= 0:
        raise ConfigError(
            f"`{text}` starts a log scale at {short(low)}.",
            fix="start it above 0, or leave out the tag.",
        )


def _refuse_order(sweep: Any, text: str) -> None:
    if sweep.shuffle:
        raise ConfigError(
            f"`{text}` shuffles, and the sampler alone says what comes when.",
            fix="leave out shuffle(...); sampler=random draws at random.",
        )


def _too_few(text: str, values: list[Any]) -> ConfigError:
    if not values:
        return ConfigError(f"`{text}` is empty.", fix=f"write {SWEEPS}.")
    return ConfigError(
        f"`{text}` has one value, {short(values[0])}: there is nothing to search.",
        fix="name another, or give it as an override, outside of the search.",
    )


def _not_finite(text: str) -> ConfigError:
    return ConfigError(f"`{text}` holds a number that is not finite.", fix="name finite numbers.")


def _not_read(text: str, words: str) -> ConfigError:
    """Turn the parser's words into ours: an unknown function is nearly always a slip."""
    if unknown := re.search(r"Unknown function '(\w+)'\s+Available: ([\w,]+)", words):
        name, known = unknown.groups()
        return ConfigError(
            f"`{text}` asks for `{name}(...)`, which Hydra's grammar does not have.",
            fix=did_you_mean(name, known.split(",")),
        )
    if "empty choice" in words:
        return _too_few(text, [])
    reason = " ".join(words.split("\n")[0].split())
    fix = f"write {SWEEPS}." if "=" in text else "write it as <key>=<value>."
    return ConfigError(f"`{text}` is not in Hydra's grammar: {reason}", fix=fix)
