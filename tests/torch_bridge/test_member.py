"""Coefficients of trained members: in numbers, with the gradients that tensors would have."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import odecore.families
from odecore.families import RK2, RK3_PAIR, RK4, Family, rkc2
from torch_bridge import DenseField, NeuralODE, TrainableSolver, odeint
from torch_bridge._member import Member

F = Fraction
NAMED = [getattr(odecore.families, name) for name in odecore.families.__all__]
FAMILIES = [f for f in (*NAMED, rkc2(3)) if isinstance(f, Family) and f.is_explicit]
VALUES = {"u": 0.37, "v": 0.71, "w": 0.31, "d": 0.04, "g": 0.23, "h": 0.29}
THIRDS = {"u": F(1, 3), "v": F(2, 3)}
like = torch.zeros(3, dtype=torch.float64)


def member_of(family):
    center = tuple(VALUES.get(name, 0.05) for name in family.parameters)
    shared = tuple(c if c is None else float(c) for c in family.shared_abscissae)
    return Member(family, center, 0.05, shared)


def entries(made):
    rows = (*made.A, made.b, made.c, made.error or ())
    return torch.stack([x for row in rows for x in row if isinstance(x, torch.Tensor)])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_numbers_and_slopes_are_those_of_tensors(family):
    member = member_of(family)
    offset = torch.linspace(0.3, -0.4, len(member.center), dtype=torch.float64)

    def both(make):
        return torch.autograd.functional.jacobian(lambda x: entries(make(x, like)), offset)

    assert entries(member.by_tensors(offset, like)).dtype == torch.float64
    torch.testing.assert_close(
        both(member.coefficients), both(member.by_tensors), rtol=1e-12, atol=1e-12
    )
    x = offset.requires_grad_()
    found, expected = member.coefficients(x, like), member.by_tensors(x, like)
    torch.testing.assert_close(entries(found), entries(expected), rtol=1e-13, atol=1e-13)
    assert found.order == expected.order
    assert found.last_stage_is_first == expected.last_stage_is_first == family.last_stage_is_first


@pytest.mark.parametrize("family", [RK2, RK3_PAIR, RK4], ids=lambda family: family.name)
def test_second_derivatives_of_a_member(family):
    member = member_of(family)
    offset = torch.full((len(member.center),), 0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: entries(member.coefficients(x, like)), offset)


def test_abscissae_that_all_members_share_are_numbers():
    found = TrainableSolver(RK4, THIRDS, F(1, 20))(like)
    assert found.c[0] == 0.0
    assert found.c[3] == 1.0
    assert found.c[1].requires_grad


def test_a_solver_of_many_stages_is_made_without_symbols_of_its_coefficients():
    family = replace(rkc2(20))  # a new one, of which nothing is known
    found = TrainableSolver(family, {"epsilon": F(2, 13)}, F(1, 20))(like)
    assert found.c[0] == 0.0
    assert found.c[19].requires_grad
    assert not {"_symbolic", "excluded"} & set(vars(family))


def test_coefficients_are_numbers_where_no_gradient_is_wanted():
    solver = TrainableSolver(RK4, THIRDS, F(1, 20))
    with torch.no_grad():
        assert all(isinstance(b, float) for b in solver(like).b)
    solver.requires_grad_(False)
    assert solver(like).b == pytest.approx((1 / 8, 3 / 8, 3 / 8, 1 / 8), rel=1e-12)


def block_of(family=RK4, center=THIRDS, steps=3):
    torch.manual_seed(0)
    field = DenseField(3, 6)
    nn.init.normal_(field.drift)
    return NeuralODE(field, solver=TrainableSolver(family, center, F(1, 20)), steps=steps).double()


def penalty(block, x):
    """The square of a gradient that does not pass the solver's parameters."""
    loss = block(x).square().sum()
    gradients = torch.autograd.grad(loss, list(block.func.parameters()), create_graph=True)
    return sum(g.square().sum() for g in gradients)


def test_a_gradient_penalty_reaches_the_parameters_of_the_solver():
    block, x = block_of(), torch.randn(4, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad(penalty(block, x), block.solver.offset)
    for k in range(2):
        values = []
        for shift in (1e-4, -2e-4):
            with torch.no_grad():
                block.solver.offset[k] += shift
            values.append(float(penalty(block, x).detach()))
        with torch.no_grad():
            block.solver.offset[k] += 1e-4
        assert float(found[k]) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_has_the_gradients_of_the_solver(reentrant):
    block, x = block_of(), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    parameters = list(block.parameters())

    def gradients(y):
        block.zero_grad()
        y.square().sum().backward()
        return [p.grad.clone() for p in parameters]

    expected = gradients(block(x))
    found = gradients(checkpoint(block, x, use_reentrant=reentrant))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_transformations_differentiate_with_respect_to_the_offset():
    block, x = block_of(), torch.randn(4, 3, dtype=torch.float64)

    def loss(offset):
        given = {"solver.offset": offset}
        return torch.func.functional_call(block, given, x).square().sum()

    offset = block.solver.offset.detach()
    (expected,) = torch.autograd.grad(block(x).square().sum(), block.solver.offset)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(torch.func.grad(loss)(offset), expected, **close)
    torch.testing.assert_close(torch.func.jacfwd(loss)(offset), expected, **close)
    several = torch.stack([offset, offset + 0.1])
    values = torch.func.vmap(loss)(several)
    torch.testing.assert_close(values, torch.stack([loss(v) for v in several]), **close)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_of_the_solver_at_lower_precision(dtype):
    def gradient(dtype):
        block = block_of(RK2, {"u": F(2, 3)}).to(dtype)
        x = torch.linspace(-1, 1, 12).reshape(4, 3).to(dtype)
        return torch.autograd.grad(block(x).square().sum(), block.solver.offset)[0].double()

    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(gradient(dtype), gradient(torch.float64), rtol=100 * eps, atol=eps)


def test_several_outputs_and_unequal_steps():
    block = block_of()
    x = torch.randn(4, 3, dtype=torch.float64)
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)

    def end(offset):
        made = block.solver._member.coefficients(offset, x)
        return odeint(block.func, x, t, method=made, options={"steps": 3})[1:]

    assert torch.autograd.gradcheck(end, block.solver.offset)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_half_precision_by_tensors_rounds_once(family, dtype):
    member, state = member_of(family), torch.zeros(3, dtype=dtype)
    offset = torch.linspace(0.3, -0.4, len(member.center), dtype=torch.float64)
    found = entries(member.by_tensors(offset, state))
    exact = entries(member.by_tensors(offset, like))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-5)
