"""Which way imports may point, who may touch the outside, how long a file may be: read from the source, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500

# Arrows: core <- ports <- (stores | upstream); core, ports, embeddings <- services <- api <- the composition root.
LAYERS: dict[str, frozenset[str]] = {
    "proxy.errors": frozenset(),
    "proxy.telemetry": frozenset({"proxy.errors"}),
    "proxy.core": frozenset({"proxy.errors"}),
    "proxy.settings": frozenset({"proxy.core.models", "proxy.errors"}),
    "proxy.ports": frozenset({"proxy.core", "proxy.errors", "embeddings.base"}),
    "proxy.stores": frozenset({"proxy.core", "proxy.ports", "proxy.errors"}),
    "proxy.upstream": frozenset({"proxy.core", "proxy.ports", "proxy.errors"}),
    "proxy.services": frozenset(
        {"proxy.core", "proxy.ports", "proxy.errors", "embeddings.base", "embeddings.batching", "embeddings.errors"}
    ),
    "proxy.api": frozenset({"proxy.core", "proxy.ports", "proxy.errors", "proxy.services", "proxy.telemetry"}),
    "proxy.mcp": frozenset({"proxy.core", "proxy.errors", "proxy.services.background", "proxy.api"}),
    "proxy.tuning": frozenset(
        {
            "proxy.core",
            "proxy.errors",
            "embeddings.base",
            "embeddings.batching",
            "embeddings.verifier",
            "embeddings.errors",
            "embeddings.training.authored_groups",
            "embeddings.training.pairs",
            "embeddings.training.recipe",
        }
    ),
    "proxy.commands": frozenset(
        {
            "proxy.app",
            "proxy.console",
            "proxy.model_loading",
            "proxy.core",
            "proxy.errors",
            "proxy.mcp",
            "proxy.secret",
            "proxy.settings",
            "proxy.stores",
            "proxy.tuning",
            "embeddings.base",
            "embeddings.errors",
            "embeddings.verifier",
        }
    ),
    "proxy.cli": frozenset({"proxy.commands", "proxy.console", "proxy.errors", "proxy.settings"}),
    "proxy.worker": frozenset(),  # users copy it
    "proxy.dashboard": frozenset(),  # files for browsers
    "embeddings": frozenset(),
}
"""Layer -> what it may import of ours besides itself."""

COMPOSITION_ROOT = {
    "proxy",
    "proxy.__main__",
    "proxy.app",
    "proxy.accounting",
    "proxy.caching",
    "proxy.fleet",
    "proxy.model_loading",
    "proxy.migration",
    "proxy.checkup",
    "proxy.secret",
    "proxy.console",
    "proxy.server",
    "proxy.workers",
    "proxy.metric_sharing",
    "proxy.otel",
}
"""What joins the layers, and so sees them all; nothing below may import it."""

EXCEPTIONS = {
    (
        "proxy.api",
        "proxy.upstream.headers",
    ): "which headers end at a hop: a pure table that both ends of the proxy need",
}

PURE = frozenset(
    {
        "__future__", "base64", "binascii", "collections", "dataclasses", "decimal", "email", "enum", "functools",
        "hashlib", "hmac", "importlib", "itertools", "math", "numpy", "orjson", "re", "string", "types", "typing",
        "unicodedata",
    }
)  # fmt: skip
"""What core may import of others: nothing with a clock, a socket, an environment, chance or a loop."""

FOREIGN: dict[str, tuple[str, ...]] = {
    "redis": (
        "proxy.stores",
        "proxy.accounting",
        "proxy.caching",
        "proxy.fleet",
        "proxy.migration",
    ),  # the latter four name a client's type alone
    "redisvl": ("proxy.stores",),
    "fastapi": ("proxy.api", "proxy.app"),
    "starlette": ("proxy.api", "proxy.app"),
    "httpx": ("proxy.upstream", "proxy.mcp.outside", "proxy.tuning.through_proxy", "proxy.worker", "embeddings.remote"),
    "litellm": ("proxy.upstream.litellm",),
    "mcp": ("proxy.mcp.server", "proxy.mcp.endpoint"),  # the latter names a type alone
    "cryptography": ("proxy.stores.sealing",),
    "onnx": ("embeddings",),
    "onnxruntime": ("embeddings.runtime",),
    "tokenizers": ("embeddings",),
    "opentelemetry": ("proxy.otel",),
    "typer": ("proxy.__main__", "proxy.cli"),
    "rich": ("proxy.commands.terminal", "embeddings.training.train"),
    "matplotlib": ("proxy.tuning.plots",),
    "torch": ("embeddings.training",),
}
"""Package -> the only modules that may import it."""

ENVIRONMENT_READERS = {
    "embeddings.runtime": "onnxruntime reads whether to report its use from the environment while it is imported",
    "proxy.__main__": "hands os.environ to the settings, and passes them on to worker processes",
    "proxy.cli.shared": "hands os.environ to the settings, for every command",
    "proxy.workers": "the entry point of a worker process, which has no other caller to hand it the environment",
    "proxy.checkup": "hands os.environ to the model list, whose entries may name variables",
    "proxy.upstream.litellm": "LiteLLM reads its switches from the environment while it is imported",
}


@cache
def sources() -> dict[str, Path]:
    """Module name -> file."""
    found = {}
    for package in ("proxy", "embeddings"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    """A module's source, parsed."""
    return ast.parse(sources()[module].read_text(encoding="utf-8"))


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that a module imports, those inside functions too."""
    found: set[str] = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in sources() else source)
    return frozenset(found)


def within(module: str, *packages: str) -> bool:
    """Whether a module is one of these or inside of one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def layer_of(module: str) -> str | None:
    """The layer a module belongs to, None for the composition root."""
    return next((layer for layer in LAYERS if within(module, layer)), None)


def ours(names: frozenset[str]) -> Iterator[str]:
    """The imports that stay inside the repository."""
    return (name for name in names if within(name, "proxy", "embeddings"))


MODULES = sorted(sources())


def test_the_source_is_found() -> None:
    assert {"proxy.core.keys", "proxy.stores.responses", "embeddings.base", "proxy.api.cached_route"} <= set(MODULES)
    assert "proxy.core.sse" in imports("proxy.core.chat_answers"), "names imported from a package are followed"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_layer_and_imports_point_inwards(module: str) -> None:
    layer = layer_of(module)
    if layer is None:
        assert module in COMPOSITION_ROOT, f"{module} belongs to no layer; give it one in LAYERS"
        return
    for name in ours(imports(module)):
        is_allowed = within(name, layer, *LAYERS[layer]) or (layer, name) in EXCEPTIONS
        assert is_allowed, f"{module} imports {name}, which {layer} must not know"


def test_every_exception_is_still_needed() -> None:
    for layer, name in EXCEPTIONS:
        users = [module for module in MODULES if within(module, layer) and name in imports(module)]
        assert users, f"nothing in {layer} imports {name} any more; take the exception out"


def test_nothing_imports_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for name in ours(imports(module)):
            # A package's own __init__ may gather from its modules, which import each other by full name.
            if name in sources() and not within(module, name):
                visit(name, (*path, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", [module for module in MODULES if within(module, "proxy.core")])
def test_core_is_pure(module: str) -> None:
    outside = {name.partition(".")[0] for name in imports(module)} - {"proxy"}
    assert outside <= PURE, f"{module} imports {sorted(outside - PURE)}"
    for node in ast.walk(tree(module)):
        assert not isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Global), f"{module}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "eval", "exec"}, f"{module}:{node.lineno} does I/O"


@pytest.mark.parametrize("package", FOREIGN)
def test_a_foreign_package_is_known_in_its_own_corner_only(package: str) -> None:
    users = [module for module in MODULES if any(within(name, package) for name in imports(module))]
    astray = [module for module in users if not within(module, *FOREIGN[package])]
    assert not astray, f"{package} is imported by {astray}"


def reads_environment(module: str) -> bool:
    """Whether a module touches the process environment."""
    names = {"environ", "environb", "getenv", "putenv", "unsetenv", "load_dotenv"}
    for node in ast.walk(tree(module)):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in names
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names}:
            return True
    return False


def test_the_environment_is_read_in_few_places_each_with_a_reason() -> None:
    assert {module for module in MODULES if reads_environment(module)} == set(ENVIRONMENT_READERS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_one_thing_and_says_which(module: str) -> None:
    text = sources()[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES, f"{module} has grown too long; split it"
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"
