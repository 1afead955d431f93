"""Names that a converter may meet: legal, odd, and meant to break out of where they stand."""

from __future__ import annotations

import builtins
import keyword
import os
import tempfile

import mlx.nn
import torch
from hypothesis import strategies as st

#: A file that only code in a name would make.
CANARY = os.path.join(tempfile.gettempdir(), f"p2m_canary_{os.getpid()}")
_TOUCH = f"__import__('pathlib').Path('{CANARY}').touch()"
_TOUCH_2 = _TOUCH.replace("'", '"')

CODE = (
    _TOUCH,
    f"x={_TOUCH}",
    f"'+{_TOUCH_2}+'",
    f'"+{_TOUCH}+"',
    f"']+[{_TOUCH_2}]+['",
    f'"), {_TOUCH}, ("',
    f"'), {_TOUCH_2}, ('",
    f'"""\n{_TOUCH}\n"""',
    f"'''\n{_TOUCH_2}\n'''",
    f"\n{_TOUCH}\n#",
    f"x\n    {_TOUCH}",
    f"# \r{_TOUCH}",
    f"\\\n{_TOUCH}",
    f"\\'+{_TOUCH_2}+\\'",
    f'\\"+{_TOUCH}+\\"',
    f"{{{_TOUCH}}}",
    f"x: {_TOUCH} = 1",
    f"*[{_TOUCH}]",
    f"x\u2028{_TOUCH}",
    f"%({_TOUCH})s",
)
MARKUP = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><p2m onload='alert(1)'>",
    "<!--",
    "]]><p2m>",
    "`|<p2m>|`",
    "{{ 7 * 7 }}{% raw %}",
    "[x](javascript:alert(1))",
    "</title><p2m>",
)
ODD = (
    *"class def return import lambda async await None True False match case type _ __ self".split(),
    *"__class__ __init__ __dict__ __call__ __import__ __builtins__ _parameters _modules".split(),
    *"mx nn math np load Path model main weights annotations dataclass".split(),
    *"a.b a..b .a a. . 0 00 1.5 -1 0x10 1e9 ² ٣ Ⅷ".split(),
    *"é e\u0301 ﬁ fi ℌ H ª İ ı ß ẞ ſ Å Å".split(),
    *('"', "'", '"""', "'''", "\\", "\\n", "%s", "{}", "{0}", "{x}", "$x", "`", "|"),
    *(
        "",
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "a\0b",
        "a b",
        "a\nb",
        "a  b",
        "#",
        "\n#",
        ";",
        ":",
        "=",
        ",",
    ),
    *("\u202e", "a\u202eb\u202c", "\u200b", "\ufeff", "\ud800", "\udfff", "a\udc80", "\U0001f600"),
    *(
        "名前",
        "имя",
        "שם",
        "a_b",
        "a-b",
        "a/b",
        "../../etc/passwd",
        "x" * 3000,
        "é" * 500,
        "A",
        "a",
    ),
)
TAKEN = sorted(
    {
        *dir(torch.nn.Module),
        *dir(mlx.nn.Module),
        *dir(builtins),
        *keyword.kwlist,
        *keyword.softkwlist,
    }
)
NASTY = (*CODE, *MARKUP, *ODD, *TAKEN)

names = st.one_of(
    st.sampled_from(CODE),
    st.sampled_from(MARKUP),
    st.sampled_from(ODD),
    st.sampled_from(TAKEN),
    st.text(st.characters(), max_size=12),
    st.text("ab_ .-'\"\n#é", max_size=4),
    st.builds(str.__add__, st.sampled_from(ODD), st.sampled_from(NASTY)),
)
