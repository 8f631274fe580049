"""What a full run will cost: downloads, core-hours, GPU-hours, disk and money, before anything is fetched.

Goes in: a checked configuration, the rates of rates.yaml, and what the project's folder already knows (NLM's listing,
fetched backbones and benchmarks). Comes out: a :class:`~biohicl.estimate.plan.Plan`, and the same in words or as JSON.
Nothing is asked of a network.

rates     how fast this code is, what was measured, where and how
files     which PubMed files there are, and how large they are
encoders  how large a model is
work      seconds of one piece of work: formulas
training  what the nodes of a configuration take
scoring   what evaluation takes
plan      all stages
words     the plan as a table, and as JSON
"""

from biohicl.estimate.plan import Machine, Plan, Prices, make_plan
from biohicl.estimate.rates import RATES, Rates, read_rates
from biohicl.estimate.training import Nodes
from biohicl.estimate.words import plan_json, plan_text

__all__ = ["RATES", "Machine", "Nodes", "Plan", "Prices", "Rates", "make_plan", "plan_json", "plan_text", "read_rates"]
