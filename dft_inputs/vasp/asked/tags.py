"""VASP's INCAR tags by what they do to a result: serves hand-off and collect.

In: tags and their values, from an INCAR or from vasprun.xml. Out: which of them may be anything,
what VASP takes where an INCAR is silent, and whether two values mean the same to VASP.
"""

from __future__ import annotations

import re

PARALLEL = frozenset(
    """NCORE NPAR KPAR NSIM LPLANE LSCALU LSCALAPACK LSCAAWARE NCSHMEM LASYNC NBLK MAXMEM
    LCRITICAL_MEM""".split()
)
"""How the work is divided among processors, and memory."""

OUTPUT = frozenset(
    """SYSTEM NWRITE LWAVE LCHARG LVTOT LVHAR LELF LAECHG LORBIT NEDOS EMIN EMAX NBLOCK KBLOCK NPACO
    APACO LDAUPRINT LH5 LWAVEH5 LCHARGH5 KPOINT_BSE""".split()
)
"""What is written. VASP 5.4 names KPOINT_BSE in vasprun.xml though no INCAR does."""

ALGORITHM = frozenset(
    """TIME AMIX BMIX AMIX_MAG BMIX_MAG AMIN MAXMIX IMIX INIMIX MIXPRE MREMOVE WC NELMIN NELMDL
    ISEARCH LSUBROT INIWAV IWAVPR NRMM""".split()
)
"""How the electrons get to the same ground state: mixing, step lengths, starts."""

OPTIMISER = frozenset("POTIM NFREE SMASS IOPT MAXMOVE ILBFGSMEM TIMESTEP".split())
"""How atoms are moved: harmless where they are moved until forces are small, or not at all. IOPT
and what follows are those of the VTST tools."""

ALIASES = {"ENMAX": "ENCUT"}
"""Names under which VASP reads, or lists, another tag."""

HARMLESS = PARALLEL | OUTPUT | ALGORITHM

SELF_CONSISTENT = frozenset(
    "N NORMAL V VERY VERYFAST VERY_FAST F FAST A ALL D DAMPED C CONJUGATE S SUBROT".split()
)
"""Words of ALGO that lead to the ground state; others (None, Eigenval, GW ...) do not."""

SELF_CONSISTENT_IALGO = frozenset({8, 38, 44, 46, 48, 53, 54, 57, 58, 68})
"""The same as IALGO, which vasprun.xml names in place of ALGO."""

LOOSEST_SYMPREC_A = 1e-3
"""A looser SYMPREC could make atoms equivalent that are not (chosen; custodian goes so far)."""

DEFAULTS: dict[str, tuple[str, ...]] = {
    # the functional
    **{"GGA": ("--", "PE", ""), "METAGGA": ("--", "NONE", "F", ""), "LMETAGGA": ("F",)},
    **{"LHFCALC": ("F",), "LRHFCALC": ("F",), "LMODELHF": ("F",), "GGA_COMPAT": ("T",)},
    **{"VOSKOWN": ("0",), "LUSE_VDW": ("F",), "IVDW": ("0",), "LVDW": ("F",), "LASPH": ("F",)},
    **{"LDAU": ("F",), "LTHOMAS": ("F",), "LCORR": ("T",), "LCOMPAT": ("F",)},
    # electrons and spin
    **{"ISPIN": ("1",), "NUPDOWN": ("-1",), "LSORBIT": ("F",), "LNONCOLLINEAR": ("F",)},
    **{"LSPIRAL": ("F",), "LZEROZ": ("F",), "I_CONSTRAINED_M": ("0",), "ICORELEVEL": ("0",)},
    **{"ISMEAR": ("1",), "SIGMA": ("0.2",), "LDIAG": ("T",), "SCISSOR": ("0",)},
    # fields and surroundings
    **{"PSTRESS": ("0",), "EFIELD": ("0",), "IDIPOL": ("0",), "LDIPOL": ("F",), "LMONO": ("F",)},
    **{"EPSILON": ("1",), "LSOL": ("F",), "LFINITE_TEMPERATURE": ("F",)},
    # basis and projection
    **{"PREC": ("N", "M"), "ADDGRID": ("F",), "LREAL": ("F",), "LMAXPAW": ("-100",)},
    **{"KGAMMA": ("T",)},
    # ions and responses
    **{"IBRION": ("-1",), "NSW": ("0", "-1"), "ISIF": ("2",), "LEPSILON": ("F",)},
    **{"LCALCEPS": ("F",), "LOPTICS": ("F",), "LPARD": ("F",), "LRPA": ("F",), "LBERRY": ("F",)},
    **{"LCALCPOL": ("F",), "LPEAD": ("F",), "LEFG": ("F",), "LCHIMAG": ("F",)},
}
"""What VASP takes where INCAR is silent, in words that mean the same. Only tags whose default
depends on nothing else: those of vasprun.xml from VASP 4.6 to 6.6 were compared with it. GGA: the
potentials' own functional, which is PBE."""

_ASSIGNMENT = re.compile(r"""\s*(\w+)\s*=\s*(?:"([^"]*)"|([^;\n]*))""", re.ASCII)


def read_incar(text: str) -> list[tuple[str, str]]:
    """Return the tags of an INCAR text and their values, in order, as VASP reads them.

    Several may stand in a line after semicolons; ``!`` and ``#`` begin comments; a backslash at the
    end goes on in the next line.
    """
    whole = re.sub(r"\\[ \t]*\r?\n", " ", text)
    bare = "\n".join(re.split("[!#]", line, maxsplit=1)[0] for line in whole.splitlines())
    return [
        (match[1].upper(), (match[3] if match[2] is None else match[2]).strip())
        for match in _ASSIGNMENT.finditer(bare)
    ]


def words_of(value: object) -> list[str]:
    """Return a value's words: logicals as T or F, ``3*0.6`` three times, all in upper case."""
    if isinstance(value, list | tuple):
        return [word for part in value for word in words_of(part)]
    found: list[str] = []
    for word in str(value).upper().split():
        head, star, last = word.rpartition("*")
        times = 1
        for factor in head.split("*") if star else ():
            times *= int(factor) if factor.isdecimal() and len(factor) < 5 else 1
        plain = last.strip(".") if last.strip(".").isalpha() else last
        found += [{"TRUE": "T", "FALSE": "F"}.get(plain, plain)] * min(times, 100_000)
    return found


def number_of(value: object) -> float | None:
    """Return the one number that a value is, or None."""
    words = words_of(value)
    try:
        [number] = (float(word.replace("D", "E")) for word in words)
    except ValueError:
        return None
    return number


def same(tag: str, wanted: object, used: object) -> bool:
    """Return whether two values of a tag mean the same to VASP, or the used one is more exact.

    More exact are a tighter EDIFF or EDIFFG, and projection in reciprocal space (LREAL false) in
    place of an approximate one.
    """
    a, b = words_of(wanted), words_of(used)
    if tag == "PREC":
        return [word[:1] for word in a] == [word[:1] for word in b]
    if tag == "LREAL" and a[:1] in (["AUTO"], ["A"]):  # vasprun.xml lists any approximation as T
        return b[:1] in (["AUTO"], ["A"], ["T"], ["F"])
    if len(a) != len(b):
        return False
    return all(_same_word(tag, x, y) for x, y in zip(a, b, strict=True))


def _same_word(tag: str, wanted: str, used: str) -> bool:
    x, y = number_of(wanted), number_of(used)
    if x is None or y is None:
        return wanted == used
    tighter = (tag == "EDIFF" and 0 <= y <= x) or (tag == "EDIFFG" and (x <= y < 0 or 0 < y <= x))
    return tighter or abs(x - y) <= 1e-6 * max(1.0, abs(x))
