import os
from pathlib import Path

import pytest
import yaml

from kraken_l3.config.settings import Settings, environment_without_secrets, load_settings, require_key
from kraken_l3.config.symbols import expand, needs_instruments
from kraken_l3.errors import ConfigError
from kraken_l3.model.instruments import Instrument


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("KRAKEN"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("config.yaml")
    path.write_text(text)
    path.chmod(0o600)
    return path


class TestOrder:
    def test_defaults_need_no_file(self) -> None:
        settings, warnings = load_settings()
        assert (settings.depth, str(settings.output_dir), settings.tier, settings.trades) == (
            10,
            "data",
            "standard",
            False,
        )
        assert (settings.flush_interval_s, settings.fsync_interval_s, settings.liveness_timeout_s) == (0.2, 1.0, 10.0)
        assert settings.rest_url == "https://api.kraken.com"
        assert settings.ws_url == "wss://ws-l3.kraken.com/v2"
        assert warnings == []

    def test_environment_over_file_and_flags_over_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write("depth: 100\nsymbols: [BTC/USD]\ntier: pro\n")
        monkeypatch.setenv("KRAKEN_L3_DEPTH", "1000")
        monkeypatch.setenv("KRAKEN_L3_TIER", "standard")
        settings, _ = load_settings(flags={"tier": "pro", "depth": None})
        assert (settings.depth, settings.symbols, settings.tier) == (1000, ["BTC/USD"], "pro")

    @pytest.mark.parametrize("key", sorted(Settings.model_fields))
    def test_every_key_is_an_environment_variable(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        samples = {
            "depth": "100",
            "symbols": "A/B,C/D",
            "tier": "pro",
            "redundancy": "1",
            "output_dir": "x",
            "trades": "true",
        }
        text = samples.get(
            key, "https://a.example" if key == "rest_url" else "wss://a.example" if "url" in key else "3"
        )
        own = {"http": "127.0.0.1:9464", "relay": "127.0.0.1:8765", "alerts": "gap, stop"}
        text = {**own, "http_token": "a-token-long-enough", "alert_webhook": "https://a.example/x"}.get(key, text)
        if Settings.model_fields[key].annotation is bool:
            text = str(not Settings.model_fields[key].default)
        needed = {
            "upload": {"seal": True},
            "keep_days": {"seal": True, "upload": "there"},
            "keep_gb": {"seal": True, "upload": "there"},
        }
        write(yaml.safe_dump(needed.get(key, {})))
        monkeypatch.setenv("KRAKEN_L3_" + key.upper(), text)
        assert getattr(load_settings()[0], key) != Settings.model_fields[key].default

    def test_symbols_as_comma_separated_text_keep_their_order_and_lose_doubles(self) -> None:
        settings, _ = load_settings(flags={"symbols": " eth/usd, BTC/USD ,,ETH/USD,ALL"})
        assert settings.symbols == ["ETH/USD", "BTC/USD", "all"]

    def test_the_examples_keys_are_the_settings(self) -> None:
        example = (Path(__file__).resolve().parents[2] / "config.yaml.example").read_text()
        for key in Settings.model_fields:
            assert f"\n{key}:" in example or f"\n# {key}:" in example


class TestRefusal:
    @pytest.mark.parametrize(
        ("text", "where", "hint"),
        [
            ("dept: 10", "dept (config.yaml)", "Did you mean depth?"),
            ("frobnicate: 10", "frobnicate (config.yaml)", "The keys are: symbols, depth,"),
            ("depth: 11", "depth (config.yaml)", "10, 100 or 1000"),
            ("depth: ten", "depth", "10, 100 or 1000"),
            ("symbols: 7", "symbols", "BTC/USD"),
            ("symbols: [XBT/USD]", "symbols", "BTC/USD"),
            ("symbols: [BTC/XDG]", "symbols", "DOGE"),
            ("tier: gold", "tier", "standard or pro"),
            ("fsync_interval_s: 0", "fsync_interval_s", "must be greater than 0. Write seconds, above 0 and up to 600"),
            ("liveness_timeout_s: 1", "liveness_timeout_s", "2 to 300"),
            ("trades: maybe", "trades", "true or false"),
            ("output_dir: [a]", "output_dir", "path of a directory"),
            ("api_key: 7", "api_key", "in quotes"),
            ("rest_url: ftp://x", "rest_url", "https://"),
            ("rest_url: api.kraken.com", "rest_url", "http:// is allowed for this machine only (127.0.0.1"),
            ("rest_url: http://api.kraken.com", "rest_url", "http:// is allowed for this machine only (127.0.0.1"),
            ("rest_url: https://me:hunter2@api.kraken.com", "rest_url", "no user name, password or query"),
            ("ws_url: wss://ws-l3.kraken.com/v2?token=hunter2", "ws_url", "no user name, password or query"),
            ("ws_url: ws://kraken.example/v2", "ws_url", "TLS"),
            ("upload: s3://bucket/x", "upload (config.yaml)", "and `seal: true`"),
            ("seal: true\nupload: s3://me:hunter2@bucket/x", "upload", "no user name, password or query"),
            ("keep_days: 30", "keep_days (config.yaml)", "a day that is nowhere else is never removed"),
            ("- a\n- b", "config.yaml", "key: value"),
            ("a: [", "config.yaml, line", "YAML"),
            ("a: [", "config.yaml, line", "kraken-l3 init"),
            ("[" * 5_000, "config.yaml", "YAML"),
        ],
    )
    def test_one_line_with_key_and_remedy(self, text: str, where: str, hint: str) -> None:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load_settings(path)
        assert where in str(caught.value)
        assert hint in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert caught.value.exit_code == 1

    def test_every_key_has_a_hint(self) -> None:
        for key in Settings.model_fields:
            with pytest.raises(ConfigError) as caught:
                load_settings(flags={key: object()})
            assert caught.value.where == f"{key} (--{key.replace('_', '-')})"
            assert caught.value.hint

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load_settings(tmp_path)
        path = tmp_path / "latin"
        path.write_bytes(b"output_dir: \xe4")
        with pytest.raises(ConfigError, match="UTF-8"):
            load_settings(path)

    def test_a_file_that_was_named_must_exist(self) -> None:
        with pytest.raises(ConfigError, match="kraken-l3 init"):
            load_settings(Path("missing.yaml"))

    def test_no_key(self) -> None:
        for flags in ({}, {"api_key": "k"}, {"api_secret": "c2VjcmV0"}):
            with pytest.raises(ConfigError, match="WebSocket interface - On"):
                require_key(load_settings(flags=flags)[0])

    @pytest.mark.parametrize("key", ["two\nlines", "“quoted”", "tab\tbed"])
    def test_a_key_that_no_header_can_hold(self, key: str) -> None:
        with pytest.raises(ConfigError, match="api_key") as caught:
            require_key(load_settings(flags={"api_key": key, "api_secret": "c2VjcmV0"})[0])
        assert key not in str(caught.value)

    def test_a_secret_is_never_quoted(self) -> None:
        with pytest.raises(ConfigError) as caught:
            require_key(load_settings(flags={"api_key": "k", "api_secret": "hunter2!"})[0])
        assert "hunter2" not in str(caught.value)
        with pytest.raises(ConfigError) as caught:
            load_settings(write("api_secret: [hunter2]"))
        assert "hunter2" not in str(caught.value)


class TestSecrets:
    def test_children_do_not_get_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the variable is called."""
        key, secret = "a-key-that-is-long", "c2VjcmV0c2VjcmV0"
        for name in ("KRAKEN_API_KEY", "KRAKEN_L3_API_KEY", "MY_KEY"):
            monkeypatch.setenv(name, key)
        for name in ("KRAKEN_API_SECRET", "KRAKEN_L3_API_SECRET", "MY_SECRET"):
            monkeypatch.setenv(name, f"{secret}")
        monkeypatch.setenv("KRAKEN_L3_DEPTH", "100")
        environment = environment_without_secrets(load_settings()[0])
        assert not any(key in value or secret in value for value in environment.values())
        assert not any("API_KEY" in name or "API_SECRET" in name for name in environment)
        assert environment["PATH"]
        assert environment["KRAKEN_L3_DEPTH"] == "100"

    def test_one_too_short_to_be_real_leaves_the_other_variables_alone(self) -> None:
        settings, _ = load_settings(flags={"api_key": "b", "api_secret": "c2VjcmV0"})
        assert "PATH" in environment_without_secrets(settings)

    def test_are_not_shown_or_journalled(self) -> None:
        settings, _ = load_settings(flags={"api_key": "my-key", "api_secret": "c2VjcmV0"})
        assert "c2VjcmV0" not in repr(settings) + str(settings.without_secrets())
        assert "my-key" not in repr(settings) + str(settings.without_secrets())
        assert require_key(settings) == ("my-key", "c2VjcmV0")

    def test_in_a_file_that_others_can_read_is_a_warning(self) -> None:
        path = write("api_key: k\napi_secret: c2VjcmV0\n")
        assert load_settings(path)[1] == []
        path.chmod(0o644)
        (warning,) = load_settings(path)[1]
        assert "chmod 600" in warning

    def test_a_misspelt_variable_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KRAKEN_L3_SYMBOL", "BTC/USD")
        (warning,) = load_settings()[1]
        assert "KRAKEN_L3_SYMBOL" in warning


class TestSymbols:
    traded = [  # noqa: RUF012 - read only
        Instrument(symbol=symbol, price_precision=1, qty_precision=8, status=status)
        for symbol, status in [
            ("BTC/USD", "online"),
            ("ETH/USD", "post_only"),
            ("BTC/EUR", "online"),
            ("OLD/USD", "delisted"),
        ]
    ]

    def test_names_stand_for_themselves(self) -> None:
        assert not needs_instruments(["BTC/USD"])
        assert expand(["NEW/USD", "BTC/USD"], []) == ["NEW/USD", "BTC/USD"]

    def test_all_and_patterns(self) -> None:
        assert needs_instruments(["all"])
        assert needs_instruments(["BTC/USD", "*/EUR"])
        assert expand(["all"], self.traded) == ["BTC/EUR", "BTC/USD", "ETH/USD"]
        assert expand(["ETH/USD", "*/USD", "BTC/*"], self.traded) == ["ETH/USD", "BTC/USD", "BTC/EUR"]

    def test_a_pattern_that_fits_nothing(self) -> None:
        with pytest.raises(ConfigError, match="fits none"):
            expand(["*/XYZ"], self.traded)


class TestRelay:
    def test_only_this_machine_reaches_it(self) -> None:
        assert load_settings(flags={"relay": "localhost:8765"})[0].relay == "localhost:8765"
        with pytest.raises(ConfigError, match=r"must be for this machine only, got 0\.0\.0\.0:8765") as error:
            load_settings(flags={"relay": "0.0.0.0:8765"})
        assert "SSH tunnel" in error.value.hint
        with pytest.raises(ConfigError, match="an address is HOST:PORT"):
            load_settings(flags={"relay": "8765"})

    def test_the_page_does_not_listen_there(self) -> None:
        with pytest.raises(ConfigError, match="must be another port than that of `http`") as error:
            load_settings(flags={"http": "127.0.0.1:8765", "relay": "127.0.0.1:8765"})
        assert error.value.where == "relay (--relay)"
        assert load_settings(flags={"http": "127.0.0.1:0", "relay": "127.0.0.1:0"})[0].relay == "127.0.0.1:0"


class TestHttp:
    def test_loopback_needs_no_token(self) -> None:
        for address in ("127.0.0.1:9464", "[::1]:9464", "localhost:0", ""):
            assert load_settings(flags={"http": address})[0].http == address

    @pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:80", "recorder.example:80"])
    def test_other_machines_need_one(self, address: str) -> None:
        with pytest.raises(ConfigError, match=r"other machines can reach .* so a token is needed") as error:
            load_settings(flags={"http": address})
        assert error.value.where == "http_token"
        assert "token_urlsafe" in error.value.hint
        assert load_settings(flags={"http": address, "http_token": "long-enough-token"})[0].http == address

    @pytest.mark.parametrize("token", ["short", "long enough but n\u00f6t ASCII", "a line\nbreak in a token"])
    def test_a_token_that_is_none_is_refused_and_never_quoted(self, token: str) -> None:
        with pytest.raises(ConfigError, match="at least 16 printable ASCII characters") as error:
            load_settings(flags={"http_token": token})
        assert token not in str(error.value)

    @pytest.mark.parametrize("address", ["9464", "127.0.0.1", "http://127.0.0.1:9464", "127.0.0.1:99999"])
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(ConfigError, match="HOST:PORT"):
            load_settings(flags={"http": address})

    def test_the_token_is_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KRAKEN_L3_HTTP_TOKEN", "long-enough-token")
        monkeypatch.setenv("ANOTHER", "with long-enough-token within")
        settings, _ = load_settings()
        assert "long-enough-token" not in repr(settings) + str(settings.without_secrets())
        assert not any("long-enough-token" in value for value in environment_without_secrets(settings).values())
