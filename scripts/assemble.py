"""Put the binaries of trainer_kernel.wat into book/_static/trainer_core.js.

Run: python -m scripts.assemble (it needs the package wasmtime). A page that trains a
network runs the text of trainer_kernel.wat as it is, or, where the browser has relaxed
SIMD, with each product that is added to a sum as one instruction.
"""

import base64
import hashlib
import re
from pathlib import Path

KERNEL = Path(__file__).parent / "trainer_kernel.wat"
CORE = Path(__file__).parents[1] / "book" / "_static" / "trainer_core.js"
VALUE = r"(\(local\.get \$\w+\))"
PRODUCT_AND_SUM = rf"\(f32x4\.add \(f32x4\.mul {VALUE} {VALUE}\) {VALUE}\)"


def relaxed(text: str) -> str:
    """The kernel with f32x4.relaxed_madd for a product and a sum."""
    return re.sub(PRODUCT_AND_SUM, r"(f32x4.relaxed_madd \1 \2 \3)", text)


def fingerprint(text: str) -> str:
    """What the core keeps of the kernel's text, so that a test sees a stale one."""
    return hashlib.sha256(text.encode()).hexdigest()


def assemble(text: str) -> bytes:
    """The text of a WebAssembly module -> its bytes."""
    from wasmtime import wat2wasm

    return bytes(wat2wasm(text))


def main() -> None:
    kernel = KERNEL.read_text(encoding="utf-8")
    constants = {
        "SOURCE": fingerprint(kernel),
        "SIMD": base64.b64encode(assemble(kernel)).decode(),
        "RELAXED": base64.b64encode(assemble(relaxed(kernel))).decode(),
    }
    core = CORE.read_text(encoding="utf-8")
    for name, value in constants.items():
        core = re.sub(rf'(const {name} = ")[^"]*', rf"\g<1>{value}", core)
    CORE.write_text(core, encoding="utf-8")


if __name__ == "__main__":
    main()
