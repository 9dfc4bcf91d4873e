import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kraken_l3.errors import ConfigError
from kraken_l3.protocol.signature import decode_secret, sign

# Published by Kraken: docs.kraken.com/api/docs/guides/spot-rest-auth
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
BODY = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
SIGNATURE = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="


def test_krakens_published_vector() -> None:
    assert sign("/0/private/AddOrder", 1616492376594, BODY, decode_secret(SECRET)) == SIGNATURE


@given(st.text("/abc0", min_size=1), st.integers(0, 2**64 - 1), st.binary(), st.binary(min_size=1))
def test_it_is_the_documented_formula(path: str, nonce: int, body: bytes, key: bytes) -> None:
    inner = hashlib.sha256(str(nonce).encode() + body).digest()
    expected = base64.b64encode(hmac.new(key, path.encode() + inner, "sha512").digest()).decode()
    assert sign(path, nonce, body, key) == expected


@pytest.mark.parametrize("secret", ["", "not base64!", "abc", "ab=c", "kQH5HW/8p1u\n==", "ümlaut=="])
def test_a_secret_that_is_not_base64_is_refused_without_quoting_it(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode_secret(secret)
    assert caught.value.where == "api_secret"
    assert caught.value.exit_code == 1
    if secret:
        assert secret not in str(caught.value)
