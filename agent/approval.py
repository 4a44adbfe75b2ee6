"""What a call may cost before a person is asked: an estimate made before it runs, never after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent.settings import NO_TEACHER, Approve
from agent.state import Call, RunState
from p2m.llm.endpoint import parse_endpoint
from p2m.llm.prices import price_of

# Tokens a row, prompt and completion. The demo in README took 136 in all for a written row and 694 for a checked
# one; what a transformed row takes is an estimate.
TOKENS_A_ROW = {"generate_batch": (140, 40), "check_labels": (690, 4), "transform_dataset": (700, 60)}
DEFAULT_ROWS = {"generate_batch": 120, "transform_dataset": 120}
BYTES_A_PARAMETER = 4


@dataclass(frozen=True)
class Request:
    """A call that waits for a yes. ``usd`` is None where no price is known; ``mb`` is the most it may download."""

    call: str
    tool: str
    usd: float | None
    mb: float

    @property
    def words(self) -> str:
        """``generate_batch may cost about $0.12``."""
        costs = []
        if self.usd is None:
            costs.append("spend at a price that is not known (P2M_PRICES)")
        elif self.usd:
            costs.append(f"cost about ${self.usd:.2f}")
        if self.mb:
            costs.append(f"download up to {self.mb:,.0f} MB")
        return f"{self.tool} may {' and '.join(costs)}"


AskApproval = Callable[[Request], Awaitable[bool]]


def needed(state: RunState, call: Call) -> Request | None:
    """The approval that ``call`` needs under the run's rule; None for most calls. A price that is not known is asked
    about once in a run."""
    rule = state.settings.approve
    if rule.mode == "auto" or call.by == "referee":
        return None
    request = Request(call.id, call.tool, _usd(state, call), _megabytes(state, call))
    unpriced_is_known = any(c.approved and c.tool in TOKENS_A_ROW for c in state.calls)
    if request.mb > rule.mb or (request.usd is None and not unpriced_is_known) or (request.usd or 0.0) > rule.usd:
        return request
    return None


def refusal(request: Request, rule: Approve) -> str:
    """Why it may not run, for the planner."""
    who = "nobody may approve it (--approve never)" if rule.mode == "never" else "the person said no"
    return f"{request.words}; {who}. Do something that costs less"


def _usd(state: RunState, call: Call) -> float | None:
    """0 where no teacher is paid."""
    if call.tool not in TOKENS_A_ROW:
        return 0.0
    if state.settings.teacher == NO_TEACHER:
        return 0.0
    price = price_of(parse_endpoint(state.settings.teacher))
    if price is None:
        return None
    prompt, completion = TOKENS_A_ROW[call.tool]
    rows = _rows(state, call)
    return price.usd(rows * prompt, rows * completion)


def _rows(state: RunState, call: Call) -> int:
    if call.tool == "check_labels":
        wanted = call.arguments.get("dataset", "all")
        return sum(d.rows for d in state.workspace.datasets if not d.checked and wanted in ("all", d.handle))
    asked = call.arguments.get("n") or call.arguments.get("max_rows") or DEFAULT_ROWS[call.tool]
    return asked if isinstance(asked, int) else DEFAULT_ROWS[call.tool]


def _megabytes(state: RunState, call: Call) -> float:
    """The most that the Hub may send for it: a dataset up to the limit of the rules, a base model by its size."""
    if state.settings.catalog != "hub":
        return 0.0
    if call.tool in ("import_dataset", "transform_dataset"):
        return state.settings.rules.max_mb
    if call.tool == "fine_tune":
        kept = [m for m in state.workspace.models if m["kept"]]
        wanted = call.arguments.get("base")
        chosen = next((m for m in kept if m["id"] == wanted), kept[0] if kept else None)
        if chosen and not chosen["path"]:
            return (chosen.get("parameters_m") or 0.0) * BYTES_A_PARAMETER
    return 0.0
