"""How fast, how much memory, and against whom: `python -m bench --help`.

rows.py        what is measured: one table
ours.py        how relprop does it; torch_.py, captum_.py, zennit_.py, onnxruntime_.py: how others do
torch_.py      also turns a network into a module of PyTorch, for all who hook modules
cost.py        the operations and bytes that a row must spend, from the algebra of its rules
ceilings.py    what the machine can do: matrix product and copy, in the same run
measure.py     processes, warm-up, interleaved runs, peak memory
pace.py        whether the machine itself is as fast as it was
check.py       a row counts only if its values are right
report.py      results as text, and bench/README.md from them
"""
