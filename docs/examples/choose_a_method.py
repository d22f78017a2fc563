"""Choose a method of a family
===========================

Look at a family over its parameter plane, and take the member that is best for a purpose."""

from fractions import Fraction

import numpy as np

from odecore.families import RK3, SDIRK2
from odecore.stability import (
    atlas,
    imaginary_interval,
    optimize,
    parametric_stability,
    real_interval,
)
from odecore.tableaux import tableau, tableau_at

best = optimize(RK3, (Fraction(1, 5), Fraction(4, 5)), (Fraction(1, 5), Fraction(9, 10)))
print("least principal error of RK3(u, v):", best.parameters)

seen = atlas(RK3, (Fraction(1, 10), 1), (Fraction(1, 10), 1), points=10)
for name, values in seen.values.items():
    print(f"{name}: from {np.nanmin(values):.3g} to {np.nanmax(values):.3g} over the plane")
seen.plot()

print(parametric_stability(SDIRK2))
for name in ("classic", "dopri5", "ssp33"):
    real, imaginary = real_interval(tableau(name)), imaginary_interval(tableau(name))
    print(f"{name}: stable on [-{real.length:.6f}, 0] and [-{imaginary.length:.6f}i, ...]")
print(tableau_at(SDIRK2, gamma=Fraction(1, 2), c=1))
