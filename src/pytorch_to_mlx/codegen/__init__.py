"""Code generation: a graph to readable ``mlx.nn`` source.

``homes`` decides which module each call belongs to, ``regions`` rebuilds the calls of modules,
``methods``
writes their bodies, ``loops`` folds repeated calls, ``classes`` merges equal modules into one class
and
``source`` puts the file together. ``flat`` writes a graph as one function (bisection, weight
recipes).
"""
