"""A small real server that answers as Materials Project, an OPTIMADE provider and Matbench do."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "right-key"
A = 5.64


def salt(number: int) -> dict[str, Any]:
    """A structure of pymatgen's as a dictionary: NaCl, KCl, NaBr or KBr in rock salt's cell."""
    half = A / 2
    cation, anion = ("Na", "K")[number % 2], ("Cl", "Br")[number // 2 % 2]
    sites = [
        {"species": [{"element": cation, "occu": 1}], "abc": [0.0, 0.0, 0.0]},
        {"species": [{"element": anion, "occu": 1}], "abc": [0.5, 0.5, 0.5]},
    ]
    matrix = [[0.0, half, half], [half, 0.0, half], [half, half, 0.0]]
    return {"lattice": {"matrix": matrix}, "sites": sites}


def summary(number: int) -> dict[str, Any]:
    """A summary as Materials Project gives it; every tenth has a site that is shared."""
    structure = salt(number)
    if number % 10 == 9:
        structure["sites"][0]["species"] = [
            {"element": "Na", "occu": 0.5},
            {"element": "K", "occu": 0.5},
        ]
    return {
        "material_id": f"mp-{number}",
        "structure": structure,
        "band_gap": 5.0 + number / 1000,
        "formation_energy_per_atom": -2.0,
        "bulk_modulus": {"voigt": 25.0, "reuss": 23.0, "vrh": 24.0} if number % 2 else None,
    }


def entry(number: int) -> dict[str, Any]:
    """An entry as OPTIMADE gives it."""
    structure = salt(number)
    kinds = [site["species"][0]["element"] for site in structure["sites"]]
    matrix = structure["lattice"]["matrix"]
    middle = [sum(row[i] for row in matrix) / 2 for i in range(3)]
    disorder = ["disorder"] if number % 10 == 9 else []
    attributes = {
        "lattice_vectors": matrix,
        "cartesian_site_positions": [[0.0, 0.0, 0.0], middle],
        "species": [{"name": k, "chemical_symbols": [k], "concentration": [1]} for k in kinds],
        "species_at_sites": kinds,
        "nperiodic_dimensions": 3,
        "structure_features": disorder,
        "_exmpl_gap": 5.0 + number / 1000,
    }
    return {"type": "structures", "id": str(number), "attributes": attributes}


class Server:
    """A server whose faults a test chooses.

    Attributes
    ----------
    faults : list
        What the next requests for data meet, first first: a status, ``(status, headers)``,
        ``"cut"`` (the connection ends in the middle of the body), or None for an answer.
    asked : list of str
        Paths with parameters, in order.
    records : int
    """

    def __init__(self, records: int = 25, page: int = 10):
        self.faults: list[Any] = []
        self.asked: list[str] = []
        self.records, self.page = records, page
        self.address = ""
        self.licence: str | None = "https://creativecommons.org/licenses/by/4.0"
        self.matbench = {
            "columns": ["structure", "gap pbe"],
            "index": list(range(records)),
            "data": [[salt(i), 5.0 + i / 1000] for i in range(records)],
        }
        self.ranges: list[str] = []

    def answer(self, path: str, given: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        if path == "/materials/summary/":
            if key != KEY:
                return 401, {"message": "Invalid authentication credentials"}
            skip, limit = int(given["_skip"]), min(int(given["_limit"]), self.page)
            wanted = set(given.get("elements", "").split(",")) - {""}
            known = [r for r in map(summary, range(self.records)) if wanted <= _elements(r)]
            return 200, {"data": known[skip : skip + limit], "meta": {"total_doc": len(known)}}
        if path == "/v1/structures":
            if int(given.get("page_limit", 0)) > self.page:
                return 403, {"errors": [{"detail": f"Max allowed page_limit is {self.page}"}]}
            begin = int(given.get("page_offset", 0))
            found = [entry(i) for i in range(begin, min(begin + self.page, self.records))]
            more = begin + self.page < self.records
            following = f"{self.address}/v1/structures?page_offset={begin + self.page}"
            links = {"next": {"href": following} if more else None}
            meta = {"data_available": self.records, "data_returned": self.records}
            return 200, {"data": found, "links": links, "meta": meta}
        if path == "/v1/info/structures":
            return 200, {"data": {"properties": {"_exmpl_gap": {"unit": "eV"}, "_exmpl_odd": {}}}}
        if path == "/v1/info":
            attributes = {"license": self.licence}
            meta = {"provider": {"name": "Example"}}
            return 200, {"data": {"attributes": attributes}, "meta": meta}
        if path == "/providers":
            index = {"id": "exmpl", "attributes": {"base_url": f"{self.address}/index"}}
            nowhere = {"id": "later", "attributes": {"base_url": None}}
            return 200, {"data": [index, nowhere]}
        if path == "/index/v1/links":
            other = {"attributes": {"link_type": "root", "base_url": "http://elsewhere"}}
            child = {"attributes": {"link_type": "child", "base_url": {"href": self.address}}}
            return 200, {"data": [other, child]}
        return 404, {"errors": [{"title": "Not Found", "detail": f"there is no {path}"}]}


def _elements(record: dict[str, Any]) -> set[str]:
    sites = record["structure"]["sites"]
    return {kind["element"] for site in sites for kind in site["species"]}


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server on a port of this machine that is free."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            given = {k: v[-1] for k, v in parse_qs(parts.query).items()}
            server.asked.append(self.path)
            about_data = "info" not in parts.path
            fault = server.faults.pop(0) if server.faults and about_data else None
            if isinstance(fault, int | tuple):
                status, headers = fault if isinstance(fault, tuple) else (fault, {})
                self.reply(status, json.dumps({"detail": f"fault {status}"}).encode(), headers)
                return
            if parts.path.endswith(".json.gz"):
                self.download(cut=fault == "cut")
                return
            status, body = server.answer(parts.path, given, self.headers.get("X-API-KEY", ""))
            self.reply(status, json.dumps(body).encode(), {}, cut=fault == "cut")

        def download(self, cut: bool) -> None:
            whole = gzip.compress(json.dumps(server.matbench).encode(), mtime=0)
            asked = self.headers.get("Range", "")
            server.ranges.append(asked)
            begin = int(asked.removeprefix("bytes=").rstrip("-") or 0)
            if begin >= len(whole):
                self.reply(416, b"", {})
                return
            headers = {"Content-Range": f"bytes {begin}-{len(whole) - 1}/{len(whole)}"}
            self.reply(206 if begin else 200, whole[begin:], headers if begin else {}, cut)

        def reply(
            self, status: int, body: bytes, headers: dict[str, str], cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{running.server_address[1]}"
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
