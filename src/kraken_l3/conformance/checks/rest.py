"""REST: the public calls, the token, errors."""

from __future__ import annotations

import re

from kraken_l3.conformance import sources
from kraken_l3.conformance.check import Broken, Certainty, CheckList, Skipped, must
from kraken_l3.conformance.reading import call, successful
from kraken_l3.conformance.transcript import Number, Transcript

__all__ = ["REST"]

REST = CheckList()
_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SYSTEM = ("online", "maintenance", "cancel_only", "post_only")


@REST.add(
    "rest.envelope",
    "Every answer is HTTP 200 and a JSON object with an array `error`, also where the call is refused.",
    sources.REST_INTRO,
    Certainty.DOCUMENTED,
)
def _envelope(transcript: Transcript) -> str:
    for name, answer in transcript.calls.items():
        must(answer.status == 200, f"{name}: HTTP {answer.status}")
        must(isinstance(answer.answer.get("error"), list), f"{name}: {answer.text[:200]}")
        must(answer.errors or "result" in answer.answer, f"{name}: neither error nor result")
    return f"{len(transcript.calls)} calls"


@REST.add("rest.time", "Time gives `unixtime` and `rfc1123`.", sources.TIME, Certainty.DOCUMENTED)
def _time(transcript: Transcript) -> str:
    result = successful(transcript, "time")["result"]
    must(isinstance(result["unixtime"], Number) and result["unixtime"].isdigit(), f"unixtime is {result['unixtime']!r}")
    must(isinstance(result["rfc1123"], str), f"rfc1123 is {result['rfc1123']!r}")
    return str(result["rfc1123"])


@REST.add(
    "rest.system-status",
    "SystemStatus gives `status` (online, maintenance, cancel_only or post_only) and `timestamp`.",
    sources.SYSTEM_STATUS,
    Certainty.DOCUMENTED,
)
def _system_status(transcript: Transcript) -> str:
    result = successful(transcript, "system-status")["result"]
    must(result["status"] in _SYSTEM, f"status is {result['status']!r}")
    must(_SECONDS.fullmatch(result["timestamp"]), f"timestamp is {result['timestamp']!r}")
    return str(result["status"])


@REST.add(
    "rest.assets",
    "Assets gives for each asset `aclass`, `altname`, `decimals` and `display_decimals`.",
    sources.ASSETS,
    Certainty.DOCUMENTED,
)
def _assets(transcript: Transcript) -> str:
    result = successful(transcript, "assets")["result"]
    must(result, "no assets")
    for name, asset in result.items():
        lacking = [key for key in ("aclass", "altname", "decimals", "display_decimals") if key not in asset]
        must(not lacking, f"{name} has no {', '.join(lacking)}")
    return f"{len(result)} assets"


@REST.add(
    "rest.asset-pairs",
    "AssetPairs gives for each pair `altname`, `wsname`, `base`, `quote`, `pair_decimals`, `lot_decimals`, "
    "`tick_size` (a text) and `status`.",
    sources.ASSET_PAIRS,
    Certainty.DOCUMENTED,
)
def _asset_pairs(transcript: Transcript) -> str:
    result = successful(transcript, "asset-pairs")["result"]
    must(result, "no pairs")
    wanted = ("altname", "wsname", "base", "quote", "pair_decimals", "lot_decimals", "tick_size", "status")
    for name, pair in result.items():
        lacking = [key for key in wanted if key not in pair]
        must(not lacking, f"{name} has no {', '.join(lacking)}")
        must(not isinstance(pair["tick_size"], Number), f"{name}: tick_size is a number")
    return f"{len(result)} pairs"


@REST.add(
    "rest.asset-pairs-names",
    "`wsname` is the name of API version 1: Bitcoin is XBT and Dogecoin XDG, not BTC and DOGE.",
    sources.DEPTH_CHARGE,
    Certainty.OBSERVED,
)
def _old_names(transcript: Transcript) -> str:
    names = [str(pair["wsname"]) for pair in transcript.asset_pairs().values()]
    new = [name for name in names if {"BTC", "DOGE"} & set(name.split("/"))]
    must(not new, f"wsname {', '.join(new[:5])}")
    old = [name for name in names if {"XBT", "XDG"} & set(name.split("/"))]
    if not old:
        raise Skipped("no pair of Bitcoin or Dogecoin is listed")
    return ", ".join(old[:3])


@REST.add(
    "rest.asset-pairs-one",
    "AssetPairs with `pair` gives that pair alone.",
    sources.ASSET_PAIRS,
    Certainty.DOCUMENTED,
)
def _one_pair(transcript: Transcript) -> str:
    result = successful(transcript, "one-pair")["result"]
    must(len(result) == 1, f"{len(result)} pairs")
    return str(next(iter(result)))


@REST.add(
    "rest.unknown-pair",
    "A pair that does not exist is refused with EQuery:Unknown asset pair.",
    sources.ERRORS,
    Certainty.DOCUMENTED,
)
def _unknown_pair(transcript: Transcript) -> str:
    return _refused(transcript, "unknown-pair", "EQuery:Unknown asset pair")


@REST.add(
    "rest.unknown-method",
    "A method that does not exist is refused with EGeneral:Unknown method.",
    sources.ERRORS,
    Certainty.DOCUMENTED,
)
def _unknown_method(transcript: Transcript) -> str:
    return _refused(transcript, "unknown-method", "EGeneral:Unknown method")


@REST.add(
    "rest.token",
    "GetWebSocketsToken, signed over path, nonce and form body, gives `token` and `expires`, 900 seconds.",
    sources.TOKEN,
    Certainty.DOCUMENTED,
)
def _token(transcript: Transcript) -> str:
    return _good_token(transcript, "token")


@REST.add(
    "rest.token-json",
    "A private call may have a JSON body; the signature is over its exact bytes.",
    sources.REST_INTRO,
    Certainty.DOCUMENTED,
)
def _token_json(transcript: Transcript) -> str:
    return _good_token(transcript, "token-json")


@REST.add(
    "rest.level3",
    "Level3 gives `pair`, `bids` and `asks`; each order has `price` and `qty` (texts), `order_id` and `timestamp` "
    "(integer nanoseconds).",
    sources.LEVEL3_CALL,
    Certainty.DOCUMENTED,
)
def _level3(transcript: Transcript) -> str:
    if any("ermission" in error for error in call(transcript, "level3-call").errors):
        raise Skipped("the key lacks the permission to query open orders")
    result = successful(transcript, "level3-call")["result"]
    must(set(result) == {"pair", "bids", "asks"}, f"keys {sorted(result)}")
    orders = [*result["bids"], *result["asks"]]
    for order in orders:
        must(set(order) == {"price", "qty", "order_id", "timestamp"}, f"an order is {order}")
        is_text = not any(isinstance(order[key], Number) for key in ("price", "qty"))
        must(is_text and isinstance(order["timestamp"], Number), f"an order is {order}")
    return f"{len(orders)} orders of {result['pair']}"


@REST.add(
    "rest.same-nonce",
    "A nonce that is not larger than the key's last is refused with EAPI:Invalid nonce.",
    sources.REST_AUTH,
    Certainty.DOCUMENTED,
)
def _same_nonce(transcript: Transcript) -> str:
    return _refused(transcript, "same-nonce", "EAPI:Invalid nonce")


@REST.add(
    "rest.wrong-signature",
    "A body that was changed after it was signed is refused with EAPI:Invalid signature.",
    sources.ERRORS,
    Certainty.DOCUMENTED,
)
def _wrong_signature(transcript: Transcript) -> str:
    return _refused(transcript, "wrong-signature", "EAPI:Invalid signature")


@REST.add(
    "rest.wrong-key",
    "A key that does not exist is refused with EAPI:Invalid key.",
    sources.ERRORS,
    Certainty.DOCUMENTED,
)
def _wrong_key(transcript: Transcript) -> str:
    return _refused(transcript, "wrong-key", "EAPI:Invalid key")


def _refused(transcript: Transcript, name: str, error: str) -> str:
    if name in ("same-nonce", "wrong-signature", "wrong-key") and name not in transcript.calls:
        raise Skipped("only with a key and --with-refusals, since Kraken counts such calls towards a lockout")
    errors = call(transcript, name).errors
    must(any(each.startswith(error) for each in errors), f"error {errors}")
    return errors[0]


def _good_token(transcript: Transcript, name: str) -> str:
    if any("nonce" in error for error in call(transcript, name).errors):
        raise Broken(f"{call(transcript, name).errors[0]}: a key that another program uses too has a larger one")
    result = successful(transcript, name)["result"]
    must(isinstance(result["token"], str) and result["token"], "the token is no text")
    must(result["expires"] == "900", f"expires is {result['expires']!r}")
    return "a token of 900 s"
