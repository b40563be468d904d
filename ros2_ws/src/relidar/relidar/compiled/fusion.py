"""Joins the steps that can run while a block of rows is in the cache: a product with all that happens to its rows."""

from collections import Counter
from dataclasses import dataclass, replace

from relidar.errors import BackendError
from relidar.program import Add, Concat, Convolution, Linear, Normalise, Program, Relu, Step, Weights, inputs_of


@dataclass(frozen=True)
class Product:
    """output = unit(relu(sum over k of input[table[:, k]] @ weight[k] + bias + shortcut @ shortcut_weight + residual))."""

    output: str
    input: str
    table: str | None
    """None: each row itself, K = 1."""
    weight: Weights
    """(K, C_in, C_out)"""
    bias: Weights
    """(C_out,)"""
    shortcut: str | None = None
    shortcut_weight: Weights | None = None
    """(C_shortcut, C_out)"""
    residual: str | None = None
    relu: bool = False
    unit: bool = False


def fuse(program: Program) -> tuple[list[Product], dict[str, Concat]]:
    """The products in an order in which they can run, and the concatenations by their output.

    Raises:
        BackendError: a step that no product can take in, so that the program needs another executor.
    """
    uses = Counter(name for step in program.steps for name in inputs_of(step))
    # By output, in order. A product that takes a later step in moves to the end: what reads its result comes later still.
    products: dict[str, Product] = {}
    joined: dict[str, Concat] = {}

    def take(name: str, step: Step) -> Product:
        if name not in products or uses[name] != 1 or products[name].relu or products[name].unit:
            raise BackendError(
                f"compiled-cpu: {type(step).__name__} {step.output!r} does not follow a product of its own, which this executor "
                "cannot run; take another backend."
            )
        return products.pop(name)

    for step in program.steps:
        match step:
            case Convolution(output, x, table, weight, bias):
                products[output] = Product(output, x, table, weight, bias)
            case Linear(output, x, weight, bias):
                products[output] = Product(output, x, None, weight[None], bias)
            case Concat(output):
                joined[output] = step
            case Relu(output, x):
                products[output] = replace(take(x, step), output=output, relu=True)
            case Normalise(output, x):
                products[output] = replace(take(x, step), output=output, unit=True)
            case Add(output, left, right):
                main, other = (left, right) if _is_convolution(products.get(left)) else (right, left)
                product = take(main, step)
                added = products.get(other)
                if product.shortcut or product.residual:
                    raise BackendError(f"compiled-cpu: {output!r} adds more than two values; take another backend.")
                plain = added is not None and not (added.relu or added.unit or added.shortcut or added.residual)
                if added is not None and plain and added.table is None and uses[other] == 1:
                    del products[other]
                    bias = product.bias + added.bias
                    joint = replace(product, bias=bias, shortcut=added.input, shortcut_weight=added.weight[0])
                else:
                    joint = replace(product, residual=other)
                products[output] = replace(joint, output=output)
            case _:
                raise BackendError(f"compiled-cpu: no {type(step).__name__} in this executor; take another backend.")
    return list(products.values()), joined


def _is_convolution(product: Product | None) -> bool:
    return product is not None and product.table is not None and not product.relu
