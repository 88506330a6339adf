"""The OpenAPI document is the handlers', and the pages that show it need nothing else."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

from fleet import Fleet, with_fleet

ROOT = Path(__file__).parents[3]
DASHBOARD = resources.files("netsonde.dashboard")


def test_the_document_in_the_repository_is_generated_from_the_handlers() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / ".ci/openapi.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_reference_names_every_call_and_no_other() -> None:
    document = json.loads((DASHBOARD / "openapi.json").read_text())
    page = (ROOT / "docs/reference/http.md").read_text()
    calls = {f"{method.upper()} {path}" for path, by in document["paths"].items() for method in by}
    assert set(re.findall(r"`([A-Z]+ /v1/[^`]+)`", page)) == calls


def test_pages_load_nothing_from_elsewhere() -> None:
    pages = [page for page in DASHBOARD.iterdir() if page.name.endswith((".html", ".js"))]
    assert len(pages) >= 2
    for page in pages:
        text = page.read_text()
        assert not re.search(r"https?://|//cdn|@import|innerHTML|eval\(", text), page.name


@with_fleet
async def test_document_and_page_are_served(fleet: Fleet) -> None:
    (agent,) = await fleet.start(2)
    document = await agent.client.get("/v1/openapi.json")
    assert document.json()["openapi"].startswith("3.1")
    page = await agent.client.get("/v1/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert (await agent.client.get(f"/v1/{name}")).status_code == 200
