"""The papers that claims are about."""

__all__ = ["OWN", "PAPERS"]

PAPERS = {
    "2103.08561": "Meta-Solver for neural ordinary differential equations",
    "2003.05271": "Interpolation technique to speed up gradients propagation in neural ODEs",
    "2201.13195": "Memory-efficient backpropagation through large linear layers",
    "2007.06937": "Follow the bisector: a simple method for multi-objective optimization",
    "2004.09222": "Towards understanding normalization in neural ODEs",
}
OWN = "Beyond the papers: classical sources and own additions"
