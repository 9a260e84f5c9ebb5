"""Where settings come from, which one wins, and what a mistake says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config, whole
from sentinel.config.documents import Setting, settings
from sentinel.config.loading import WrongSettings, load
from sentinel.config.names import SERVICE_LINK, known_names
from sentinel.errors import UsageError

Load = Callable[..., Config]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """``load`` in an empty directory and an empty environment, plus what is given."""
    monkeypatch.chdir(tmp_path)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)

    def read(
        flags: dict[str, Any] | None = None, *, env: dict[str, str] | None = None, dotenv: str = "", toml: str = ""
    ) -> Config:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        if dotenv:
            Path(".env").write_text(dotenv)
        if toml:
            Path("sentinel.toml").write_text(toml)
        return load(flags or {}, None)

    return read


def mistake(read: Load, *args: Any, **sources: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(*args, **sources)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_defaults_are_the_real_venue(read: Load) -> None:
    config = read()
    assert config.venues.coinbase.advanced_url == "wss://advanced-trade-ws.coinbase.com"
    assert config.venues.coinbase.exchange_url == "wss://ws-feed.exchange.coinbase.com"
    assert config.venues.coinbase.rest_url == "https://api.exchange.coinbase.com"
    assert config.data_dir == Path("data")
    assert config.influx.url is None
    assert config.collector


def test_the_model_is_made_once() -> None:
    """To make it takes many times as long as to read the settings."""
    assert whole() is whole()


def test_precedence(read: Load) -> None:
    toml = 'data_dir = "toml"\ncollector = "toml"\nlog_level = "ERROR"\nrecord = true\n'
    dotenv = "SENTINEL_DATA_DIR=dotenv\nSENTINEL_COLLECTOR=dotenv\nSENTINEL_LOG_LEVEL=DEBUG\n"
    env = {"SENTINEL_DATA_DIR": "env", "SENTINEL_COLLECTOR": "env"}
    config = read({"data_dir": Path("flag")}, env=env, dotenv=dotenv, toml=toml)
    assert (config.data_dir, config.collector, config.log_level, config.record) == (Path("flag"), "env", "DEBUG", True)


def test_sections_are_merged_key_by_key(read: Load) -> None:
    config = read(
        {"influx": {"url": "http://flag:1"}},
        env={"SENTINEL_INFLUX_ORG": "env"},
        toml='[influx]\nurl = "http://toml:1"\norg = "toml"\nbucket_book = "toml"\n',
    )
    assert (config.influx.url, config.influx.org, config.influx.bucket_book) == ("http://flag:1", "env", "toml")


def test_the_names_scripts_rely_on(read: Load) -> None:
    config = read(
        env={
            "SENTINEL_DATA_DIR": "d",
            "SENTINEL_COINBASE_ADVANCED_URL": "ws://a:1",
            "SENTINEL_COINBASE_EXCHANGE_URL": "ws://e:1",
            "SENTINEL_COINBASE_REST_URL": "http://r:1/",
            "SENTINEL_INFLUX_URL": "http://i:1",
            "SENTINEL_INFLUX_TOKEN": "t",
            "SENTINEL_INFLUX_ORG": "o",
            "SENTINEL_INFLUX_BUCKET_TRADES": "bt",
            "SENTINEL_INFLUX_BUCKET_BOOK": "bb",
        }
    )
    assert config.data_dir == Path("d")
    assert (config.venues.coinbase.advanced_url, config.venues.coinbase.exchange_url) == ("ws://a:1", "ws://e:1")
    assert config.venues.coinbase.rest_url == "http://r:1"
    influx = config.influx
    assert (influx.url, influx.org, influx.bucket_trades, influx.bucket_book) == ("http://i:1", "o", "bt", "bb")
    assert influx.token is not None
    assert influx.token.get_secret_value() == "t"


def test_the_ecosystems_names_work_and_ours_win(read: Load) -> None:
    config = read(
        env={"INFLUXDB_V2_URL": "http://v2:1", "INFLUXDB_V2_ORG": "v2", "SENTINEL_INFLUX_ORG": "ours"},
        toml='[influx]\nurl = "http://toml:1"\n',
    )
    assert (config.influx.url, config.influx.org) == ("http://v2:1", "ours")


def test_other_programs_names_in_dotenv_are_none_of_our_business(read: Load) -> None:
    assert read(dotenv="POSTGRES_PASSWORD=x\nSENTINEL_COLLECTOR=c\n").collector == "c"


def test_products(read: Load) -> None:
    assert read(env={"SENTINEL_PRODUCTS": "BTC-USD, ETH-USD,BTC-USD"}).products == ("BTC-USD", "ETH-USD")
    assert read({"products": ("SOL-USD",)}, toml='products = ["BTC-USD"]').products == ("SOL-USD",)


def test_a_secret_from_a_file(read: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    config = read(env={"SENTINEL_INFLUX_TOKEN_FILE": str(tmp_path / "token")})
    assert config.influx.token is not None
    assert config.influx.token.get_secret_value() == "s3cret"


def test_a_secret_is_not_shown(read: Load) -> None:
    config = read(env={"SENTINEL_INFLUX_TOKEN": "s3cret"})
    assert "s3cret" not in repr(config)
    assert "s3cret" not in config.model_dump_json()


ELSEWHERE = ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "10.0.0.1:80", "market.example:80", "127.0.0.1.example:80"]


@pytest.mark.parametrize("http", ELSEWHERE)
def test_where_others_can_ask_there_is_a_token(read: Load, http: str) -> None:
    host = http.rpartition(":")[0].strip("[]")
    assert mistake(read, env={"SENTINEL_HTTP": http}).endswith(
        f"http on {host} can be reached from elsewhere: it needs http_token or http_token_file"
    )
    config = read(env={"SENTINEL_HTTP": http, "SENTINEL_HTTP_TOKEN": "s3cret"})
    assert (config.http, config.http_token is None) == (http, False)


@pytest.mark.parametrize("http", ["127.0.0.1:80", "[::1]:80", "localhost:80"])
def test_where_only_this_machine_can_ask_there_need_be_none(read: Load, http: str) -> None:
    assert read(env={"SENTINEL_HTTP": http}).http_token is None


def test_edges_may_be_numbers_or_text(read: Load) -> None:
    assert read(toml='[book]\nedges_bps = [1, 2.5, "10"]\n').book.edges_bps == (
        Decimal(1),
        Decimal("2.5"),
        Decimal(10),
    )


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ({"toml": "data_dirr = 1"}, "unknown setting data_dirr; did you mean data_dir?"),
        ({"toml": '[influx]\ntokn = "s3cret"'}, "unknown setting influx.tokn; did you mean influx.token?"),
        ({"toml": "[alertz]\ngap_s = 5"}, "unknown setting alertz; did you mean alerts?"),
        ({"toml": '[venues.krakn]\nurl = "wss://x"'}, "unknown setting venues.krakn; did you mean venues.kraken?"),
        ({"toml": "[influx"}, "sentinel.toml: "),
        ({"env": {"SENTINEL_INFLUX_TOKN": "s3cret"}}, "SENTINEL_INFLUX_TOKN; did you mean SENTINEL_INFLUX_TOKEN?"),
        ({"env": {"SENTINEL_DATADIR": "x"}}, "SENTINEL_DATADIR; did you mean SENTINEL_DATA_DIR?"),
        ({"dotenv": "SENTINEL_INFLUX_TOKN=s3cret"}, "SENTINEL_INFLUX_TOKN; did you mean SENTINEL_INFLUX_TOKEN?"),
        ({"env": {"SENTINEL_COINBASE_REST_URL": "coinbase.com"}}, "coinbase.rest_url: is not a http or https URL"),
        ({"env": {"SENTINEL_COINBASE_ADVANCED_URL": "https://x"}}, "coinbase.advanced_url: is not a ws or wss URL"),
        (
            {"env": {"SENTINEL_PRODUCTS": "btc-usd"}},
            "'btc-usd' is not a product such as BTC-USD; did you mean BTC",
        ),
        ({"env": {"SENTINEL_PRODUCTS": "BTCUSD"}}, "'BTCUSD' is not a product such as BTC-USD"),
        ({"toml": "[book]\nedges_bps = [0]"}, "book.edges_bps"),
        ({"toml": "[book]\nedges_bps = []"}, "book.edges_bps"),
        ({"toml": '[feeds]\nbook = "kraken"'}, "feeds.book"),
        ({"toml": '[feeds]\nbook = "coinbase_exchange_level2"'}, "needs a key"),
        ({"toml": '[coinbase]\nexchange_key = "k"'}, "together"),
        ({"toml": '[influx]\ntoken = "s3cret"\ntoken_file = "f"'}, "has both token and token_file"),
        ({"toml": '[influx]\ntoken_file = "nowhere"'}, "No such file or directory: nowhere"),
        ({"env": {"SENTINEL_BOOK_EDGES_BPS": "[1,"}}, "book"),
    ],
)
def test_a_mistake_is_one_clear_line(read: Load, sources: dict[str, Any], text: str) -> None:
    said = mistake(read, **sources)
    assert text in said
    assert "s3cret" not in said


def test_a_named_file_must_be_there(read: Load) -> None:
    with pytest.raises(UsageError, match=r"no such file: nowhere\.toml"):
        load({}, Path("nowhere.toml"))


def test_several_mistakes_are_counted(read: Load) -> None:
    assert "(and 1 more)" in mistake(read, toml="nonsense = 1\nrubbish = 2\n")


def test_all_mistakes_are_there_for_who_asks(read: Load) -> None:
    """check-config told the first, and how many more (F15 of the tour)."""
    with pytest.raises(WrongSettings) as caught:
        read(
            toml='nonsense = 1\nproducts = ["BTC/USD", "ETHUSD"]\n[feeds]\nconnections = 7\n',
            env={"SENTINEL_DATADIR": "x", "SENTINEL_HTTP": "nowhere"},
        )
    told = "\n".join(caught.value.mistakes)
    for words in (
        "nonsense",
        "BTC-USD?",
        "ETH-USD?",
        "feeds.connections",
        "SENTINEL_DATADIR",
        "http: nowhere has no port",
    ):
        assert words in told
    assert len(caught.value.mistakes) == 5


@pytest.mark.parametrize("text", ["1, 2.5 10", "[1, 2.5, 10]", '["1", 2.5, 10]'])
def test_a_list_in_the_environment_is_json_or_words(read: Load, text: str) -> None:
    assert read(env={"SENTINEL_BOOK_EDGES_BPS": text}).book.edges_bps == (Decimal(1), Decimal("2.5"), Decimal(10))


def test_a_list_that_is_none_is_named(read: Load) -> None:
    assert "book.edges_bps: is not a list" in mistake(read, env={"SENTINEL_BOOK_EDGES_BPS": "[1,"})


FREE = {
    "cluster.password",
    "cluster.token",
    "cluster.user",
    "data_dir",
    "http_token",
    "influx.bucket_book",
    "influx.bucket_trades",
    "influx.org",
    "influx.token",
}
"""What takes any text: a folder, a name or a secret."""


@pytest.mark.parametrize("setting", list(settings()), ids=lambda setting: setting.key)
def test_a_wrong_value_of_any_setting_is_one_line_that_names_it(read: Load, setting: Setting) -> None:
    env = {setting.environment_name: "no such thing"}
    if setting.key in FREE:
        read(env=env)
        return
    said = mistake(read, env=env)
    assert all(word in said for word in setting.key.split("."))
    assert len(said) < 250


LINKS = [
    "SENTINEL_HOST",
    "SENTINEL_PORT",
    "SENTINEL_PORT_80_TCP",
    "SENTINEL_PORT_80_TCP_ADDR",
    "SENTINEL_SERVICE_HOST",
    "SENTINEL_WS_SERVICE_HOST",
    "SENTINEL_WS_SERVICE_PORT",
    "SENTINEL_WS_SERVICE_PORT_HTTP",
    "SENTINEL_WS_PORT_8080_TCP_PROTO",
    "SENTINEL_INFLUX_PORT",
    "SENTINEL_INFLUX_SERVICE_HOST",
    "SENTINEL_HTTP_SERVICE_PORT",
    "SENTINEL_ALERTS_PORT_9093_UDP",
    "SENTINEL_HOME",
]


def test_what_others_call_sentinel_is_told_in_one_line_and_ignored(
    read: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    read(env=dict.fromkeys(LINKS, "10.0.0.1"), dotenv="SENTINEL_WS_PORT=tcp://10.0.0.1:80")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"sentinel-ws: not settings, ignored: {', '.join(sorted([*LINKS, 'SENTINEL_WS_PORT']))}"


def test_no_setting_is_called_like_a_service() -> None:
    assert not [name for name in known_names() if SERVICE_LINK.search(name)]


@pytest.mark.parametrize("name", known_names())
def test_a_letter_too_many_in_any_setting_is_a_mistake(read: Load, name: str) -> None:
    assert f"unknown environment variable {name}X; did you mean {name}?" in mistake(read, env={f"{name}X": "1"})


OLD = {
    "toml": {
        "toml": '[coinbase]\nrest_url = "http://r:1"\n[feeds]\nbook = "coinbase_exchange_level2_batch"\nshare = 0.5\n'
    },
    "environment": {
        "toml": '[coinbase]\nrest_url = "http://r:1"\n[feeds]\nshare = 0.5\n',
        "env": {"SENTINEL_FEEDS_BOOK": "coinbase_exchange_level2_batch"},
    },
}


@pytest.mark.parametrize("sources", OLD.values(), ids=OLD)
def test_names_of_version_0_1_are_read_with_one_line_of_warning(
    read: Load, sources: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    config = read(**sources)
    assert config.venues["coinbase"].rest_url == "http://r:1"
    assert config.venues["coinbase"].book == "coinbase_exchange_level2_batch"
    assert config.feeds.share == 0.5
    (line,) = capsys.readouterr().err.splitlines()
    assert "coinbase is now venues.coinbase" in line
    assert "feeds.book is now venues.coinbase.book" in line


def test_names_of_today_are_read_without_a_word_and_win(read: Load, capsys: pytest.CaptureFixture[str]) -> None:
    env = {"SENTINEL_COINBASE_REST_URL": "http://e:1", "SENTINEL_COINBASE_TRADES": "coinbase_advanced"}
    config = read(env=env, toml='[venues.coinbase]\nrest_url = "http://t:1"\nadvanced_url = "ws://t:1"\n')
    settings = config.venues["coinbase"]
    assert (settings.rest_url, settings.advanced_url) == ("http://e:1", "ws://t:1")
    assert settings.trades == {"coinbase_advanced"}
    assert capsys.readouterr().err == ""
    config = read(toml='[venues.coinbase]\nadvanced_url = "ws://new:1"\n[coinbase]\nadvanced_url = "ws://old:1"\n')
    assert config.venues["coinbase"].advanced_url == "ws://new:1"


def test_a_mistake_in_an_old_name_is_told_by_both_names(read: Load) -> None:
    assert "venues.coinbase.book (given as feeds.book)" in mistake(read, env={"SENTINEL_FEEDS_BOOK": "kraken"})


def test_a_product_may_name_its_exchange(read: Load) -> None:
    config = read(env={"SENTINEL_PRODUCTS": "coinbase:BTC-USD ETH-USD BTC-USD"})
    assert config.products == ("BTC-USD", "ETH-USD")
    assert "'nowhere:BTC/USD' is of an unknown exchange" in mistake(read, env={"SENTINEL_PRODUCTS": "nowhere:BTC/USD"})
