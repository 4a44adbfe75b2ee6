"""The command line. Every command's work is imported only when it runs, so that --help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from p2m import __version__
from p2m.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_USAGE, P2MError

EXIT_CODES = """exit codes: 0 target met (or none set), 1 internal error, 2 usage or bad input, 3 ended below
            the target, 4 provider failed, 130 interrupted (resume with: p2m resume RUN)"""

RUN_EXAMPLES = """examples:
  p2m run examples/question-type.md
  p2m run "Say whether a review is positive or negative" --target 'accuracy>=0.8'
  p2m run task.md --teacher openai:gpt-5-mini --planner openai:gpt-5 --budget-usd 2
  p2m run task.md --catalog ../shared/hub --planner policy --json
  p2m run task.md --planner policy --teacher none --json    # in CI: labelled files alone, no LLM
  p2m run task.md --catalog hub --allow-licences mit,apache-2.0,cc-by-4.0

endpoints (--planner, --teacher):
  auto                    a configured endpoint (P2M_PLANNER, P2M_TEACHER, OPENAI_API_KEY), else the embedded model
  local:NAME              a model of the embedded pack, or the path of a .gguf, run here by llama.cpp
  openai:MODEL            OPENAI_API_KEY, and OPENAI_BASE_URL if set
  http://HOST:PORT/v1#MODEL   any OpenAI-compatible server; P2M_API_KEY is sent if set
  policy                  (planner only) a rule book, no LLM
  none                    (teacher only) no LLM: what trains is a labelled file or a dataset of --catalog
"""


class Parser(argparse.ArgumentParser):
    """A usage error is one line, as every other error of the user's is."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}. See: {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="p2m",
        description="Describe an NLP task, get a small model that does it, with an honest estimate of how good it is.",
        epilog=f"start here:\n  p2m                      the app: say what you want, watch it work, steer it\n"
        f"  p2m pull                 the embedded models, once (1.8 GB)\n"
        f"  p2m run TASK             a task file, a JSON task, or the task in words\n"
        f"  p2m predict RUN 'text'   use the model\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"p2m {__version__}")
    parser.add_argument(
        "--web", action="store_true", help="open the app in a browser of this machine (extra: p2m[web])"
    )
    parser.add_argument("--port", type=int, default=8700, metavar="N", help="of --web (default: 8700)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, help_text: str, epilog: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            epilog=f"{epilog}\n{EXIT_CODES}" if name in ("run", "resume") else epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    run = command("run", "build a model for a task", RUN_EXAMPLES)
    run.add_argument(
        "task", metavar="TASK", help="a .md, .txt, .json or .yaml task file, - for standard input, or the task in words"
    )
    run.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/NAME-DATE)")
    run.add_argument("--target", metavar="'METRIC>=X'", help="when to stop, e.g. 'accuracy>=0.85' or 0.85")
    run.add_argument(
        "--planner",
        default="auto",
        metavar="auto|policy|local:NAME|openai:MODEL|URL#MODEL",
        help="who decides what to do next (default: auto)",
    )
    run.add_argument(
        "--teacher",
        default="auto",
        metavar="auto|none|local:NAME|openai:MODEL|URL#MODEL",
        help="who writes and labels examples (default: auto); none: nobody, labelled files and datasets alone",
    )
    run.add_argument(
        "--catalog",
        metavar="DIR|hub",
        help="where datasets may be searched: a folder laid out as on the Hub, or the Hub (HF_ENDPOINT, HF_TOKEN)",
    )
    run.add_argument("--input-column", metavar="NAME", help="the text column of the labelled files")
    run.add_argument("--output-column", metavar="NAME", help="the label column of the labelled files")
    run.add_argument("--seed", type=int, default=0, metavar="N", help="of every random choice (default: 0)")
    run.add_argument("--ask", action="store_true", help="let the planner ask you a question or two")
    _budget(run)
    _approval(run)
    _data_rules(run)
    run.add_argument("--json", action="store_true", help="events as JSON lines on standard output")

    chat = command(
        "chat",
        "open the app with these options; --plain: the same conversation as lines",
        "examples:\n  p2m chat --planner policy --catalog ../shared/hub\n  p2m chat runs/question-type\n"
        "  p2m chat --plain < words.txt",
    )
    chat.add_argument("run", nargs="?", metavar="RUN", help="a run to open, finished or at work")
    chat.add_argument("--plain", action="store_true", help="lines instead of a screen: for a screen reader or a pipe")
    chat.add_argument("--light", action="store_true", help="the light theme (Ctrl+T changes it)")
    chat.add_argument("--out", metavar="DIR", help="with --plain: the run's folder (default: runs/NAME-DATE)")
    chat.add_argument("--planner", default="auto", metavar="ENDPOINT", help="as for p2m run (default: auto)")
    chat.add_argument("--teacher", default="auto", metavar="ENDPOINT", help="as for p2m run (default: auto)")
    chat.add_argument("--catalog", metavar="DIR|hub", help="where datasets may be searched")
    chat.add_argument("--seed", type=int, default=0, metavar="N", help="of every random choice (default: 0)")
    chat.add_argument(
        "--approve", choices=("ask", "auto", "never"), default="ask", help="calls that may cost much (default: ask)"
    )

    resume = command("resume", "go on with a run after Ctrl-C, a crash or a spent budget")
    resume.add_argument("run", metavar="RUN", help="a run's folder or name")
    _budget(resume, "on top of what is spent")
    resume.add_argument("--json", action="store_true", help="events as JSON lines on standard output")

    runs = command("runs", "list the runs: task, status, best score and interval, spend, time")
    runs.add_argument("--dir", default=None, metavar="DIR", help="where to look (default: runs, or P2M_RUNS)")
    runs.add_argument("--json", action="store_true", help="one JSON object a run")

    tell = command(
        "tell",
        "say something to a run that works in another process: the planner reads it at its next turn",
        "examples:\n  p2m tell runs/question-type 'shorter questions, please'\n"
        "  p2m tell runs/question-type --stop\n  p2m tell runs/question-type --target 0.8 --budget-minutes 40",
    )
    tell.add_argument("run", metavar="RUN", help="a run's folder or name")
    tell.add_argument("text", nargs="?", metavar="TEXT", help="a message")
    tell.add_argument("--pause", action="store_true", help="wait before the next step")
    tell.add_argument("--go-on", action="store_true", help="end the pause")
    tell.add_argument("--skip", action="store_true", help="cancel the tool call that runs now; the run goes on")
    tell.add_argument("--stop", action="store_true", help="end after the present step, with the best student so far")
    tell.add_argument("--cancel", action="store_true", help="end now, its training too; p2m resume goes on")
    tell.add_argument("--target", metavar="'METRIC>=X'", help="another target")
    _budget(tell)

    log = command("log", "show the tool-call log of a run: why, what, result, seconds, spend")
    log.add_argument("run", metavar="RUN", help="a run's folder or name")
    log.add_argument("--json", action="store_true", help="one JSON object a call")
    log.add_argument("--row", metavar="TEXT", help="instead: where the training rows with TEXT in them came from")

    predict = command(
        "predict",
        "use a delivered model on a text or a file",
        "examples:\n  p2m predict runs/question-type 'Who wrote it?'\n"
        "  p2m predict runs/question-type --file in.csv --out out.csv\n"
        "  cat lines.txt | p2m predict runs/question-type --file -\n"
        "  p2m predict runs/question-type --file in.csv --out out.csv --abstain   (or --abstain 0.8)",
    )
    predict.add_argument("run", metavar="RUN", help="a run's folder or name")
    predict.add_argument("text", nargs="*", metavar="TEXT", help="one text to label, in quotes")
    predict.add_argument(
        "--file", metavar="FILE", help=".csv, .tsv, .jsonl, .parquet, .txt, or - for lines on standard input"
    )
    predict.add_argument(
        "--out", metavar="FILE", help="write .csv, .tsv, .jsonl or .parquet (default: JSON lines on standard output)"
    )
    predict.add_argument("--input-column", metavar="NAME", help="the text column of FILE")
    _model(predict)
    predict.add_argument("--json", action="store_true", help="JSON also for a single TEXT")
    predict.add_argument(
        "--abstain",
        nargs="?",
        const="",
        metavar="T",
        help="leave the label empty where its probability is below T (default: the threshold of the run's report)",
    )

    evaluate = command("eval", "score a delivered model on a labelled file: metric, interval, classes, confusion")
    evaluate.add_argument("run", metavar="RUN", help="a run's folder or name")
    evaluate.add_argument("file", metavar="FILE", help="labelled rows: .csv, .tsv, .jsonl or .parquet")
    evaluate.add_argument("--input-column", metavar="NAME", help="the text column of FILE")
    evaluate.add_argument("--output-column", metavar="NAME", help="the label column of FILE")
    _model(evaluate)
    evaluate.add_argument("--json", action="store_true", help="one JSON object")

    report = command("report", "write report.md and report.html of a run again")
    report.add_argument("run", metavar="RUN", help="a run's folder or name")

    export = command(
        "export",
        "write a delivered model in another format, compared with the delivered one on the validation rows",
        "examples:\n  p2m export runs/question-type --onnx          float32: the same answers, faster\n"
        "  p2m export runs/question-type --onnx --int8   int8: the fastest; the card says what it costs\n"
        "  p2m export runs/shell --gguf                  llama.cpp and Ollama, with a Modelfile\n\n"
        "It is written to RUN/export/FORMAT, with a card. Needs: pip install 'p2m[onnx]', or 'p2m[gguf]' for --gguf",
    )
    export.add_argument("run", metavar="RUN", help="a run's folder or name")
    formats = export.add_mutually_exclusive_group(required=True)
    formats.add_argument(
        "--onnx", action="store_true", help="ONNX Runtime (models that read: labels, spans, answers, ratings)"
    )
    formats.add_argument("--gguf", action="store_true", help="llama.cpp and Ollama (Llama models that write text)")
    formats.add_argument("--hf", action="store_true", help="plain transformers: the delivered folder, checked")
    export.add_argument("--int8", action="store_true", help="with --onnx or --gguf: weights in int8")

    serve = command(
        "serve",
        "answer over HTTP: /predict, /batch, /health, /metrics, /openapi.json, and a page to try it at /",
        "example:\n  p2m serve runs/question-type --model onnx-int8\n"
        "  curl 127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{\"text\": \"Who wrote it?\"}'\n\n"
        "Needs: pip install 'p2m[serve]'",
    )
    serve.add_argument("run", metavar="RUN", help="a run's folder or name")
    _model(serve)
    serve.add_argument("--host", default="127.0.0.1", metavar="HOST", help="default: 127.0.0.1, this machine alone")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000; 0 is any free one")

    package = command(
        "package",
        "make a folder that runs without p2m: model, predict.py, pinned requirements, Dockerfile",
        "example:\n  p2m package runs/question-type --out question-type && python question-type/predict.py 'Who?'"
        "\n\nNeeds: pip install 'p2m[onnx]', or 'p2m[gguf]' for models that write text",
    )
    package.add_argument("run", metavar="RUN", help="a run's folder or name")
    package.add_argument("--out", metavar="DIR", help="default: RUN/package")
    package.add_argument("--int8", action="store_true", help="the int8 model (default: float32, the very same answers)")

    push = command(
        "push",
        "publish a delivered model on the Hub, with its card",
        "examples:\n  p2m push runs/question-type me/question-type --private\n"
        "  p2m push runs/question-type me/question-type --dataset\n\n"
        "The token is HF_TOKEN, or that of: hf auth login. Another Hub: HF_ENDPOINT.",
    )
    push.add_argument("run", metavar="RUN", help="a run's folder or name")
    push.add_argument("repo", metavar="ORG/NAME", help="where to, e.g. your-name/question-type")
    push.add_argument("--private", action="store_true", help="only you can see it")
    push.add_argument("--dataset", action="store_true", help="its training rows too, as the dataset ORG/NAME")

    pull = command("pull", "fetch the embedded models, checksummed, resumable")
    pull.add_argument("names", nargs="*", metavar="NAME", help="default: all four")

    _catalog(command("catalog", "a local catalogue of dataset and model cards: fill it, search it"))

    doctor = command("doctor", "say what is installed, which planners and teachers answer, what is missing")
    doctor.add_argument("--json", action="store_true", help="a JSON list of findings")
    return parser


def _catalog(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="sync|search", required=True, help="what to do with it")

    def verb(name: str, help_text: str, epilog: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    sync = verb(
        "sync",
        "read cards into the catalogue; what is there already is not read or embedded again",
        "examples:\n  p2m catalog sync --hub --limit 20000\n  p2m catalog sync --folder ../shared/hub\n"
        "  p2m catalog sync --jsonl cards.jsonl.gz --embedding models/bge-base-en-v1.5\n\n"
        'a line of FILE is {"id": ..., "contents": ...} or {"id": ..., "card": README} with, where known, title,\n'
        "downloads, size_bytes, license, language, task_categories. Ctrl-C loses nothing: run it again to go on.",
    )
    source = sync.add_mutually_exclusive_group(required=True)
    source.add_argument("--hub", action="store_true", help="list the Hugging Face Hub, most downloaded first")
    source.add_argument("--folder", metavar="DIR", help="datasets/ORG/NAME/README.md and models/ORG/NAME/README.md")
    source.add_argument("--jsonl", metavar="FILE", help="cards as .jsonl or .json, also with .gz")
    sync.add_argument(
        "--limit", type=int, default=50_000, metavar="N", help="with --hub: of each kind (default: 50000)"
    )
    sync.add_argument(
        "--embedding",
        metavar="MODEL",
        help="embed the cards with this sentence encoder from now on: a folder with safetensors, a name under "
        "$P2M_MODELS or on the Hub (default: what the catalogue has, at first all-minilm-l6-v2)",
    )
    search = verb(
        "search",
        "find cards by words, meaning and use; each says why it was kept or left out",
        "examples:\n  p2m catalog search 'customer questions to a bank'\n"
        "  p2m catalog search 'intent classification' 'banking chat' --kind dataset --language en --license mit\n\n"
        "several queries are one search: what fits them all comes first.",
    )
    search.add_argument("query", nargs="+", metavar="QUERY", help="a description of the task, or keywords")
    search.add_argument("--kind", choices=("dataset", "model"), help="only these")
    search.add_argument("--language", metavar="CODE", help="leave out cards that state other languages, e.g. en")
    search.add_argument("--task", action="append", metavar="NAME", help="leave out cards that state other tasks")
    search.add_argument("--license", action="append", metavar="NAME", help="only cards with this licence, e.g. mit")
    search.add_argument("--limit", type=int, default=10, metavar="N", help="how many (default: 10)")
    search.add_argument("--json", action="store_true", help="one JSON object a card")
    for p in (sync, search):
        p.add_argument("--index", metavar="FILE", help="the catalogue (default: catalog.sqlite in p2m's home)")


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=("hf", "onnx", "onnx-int8", "gguf", "gguf-q8"),
        default="hf",
        help="as delivered (hf, the default), or as p2m export wrote it",
    )


def _budget(parser: argparse.ArgumentParser, counted: str = "in all") -> None:
    group = parser.add_argument_group(
        "budget (a call that would pass a limit is not made; the best so far is delivered)"
    )
    group.add_argument("--budget-minutes", metavar="N", help=f"minutes of work, {counted}")
    group.add_argument("--budget-examples", metavar="N", help=f"training rows that the teacher may write, {counted}")
    group.add_argument("--budget-usd", metavar="X", help="dollars")
    group.add_argument("--budget-tokens", metavar="N", help="LLM tokens, in and out")
    group.add_argument("--budget-steps", metavar="N", help="tool calls that a planner may make")


def _approval(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    group = parser.add_argument_group(
        "approval of single calls (an estimate, made before the call; the budget holds too)"
    )
    group.add_argument(
        "--approve",
        choices=("ask", "auto", "never"),
        default=default,
        help=f"ask before a call that may spend or download more than these limits, or refuse it (default: {default})",
    )
    group.add_argument("--approve-above-usd", metavar="X", help="dollars (default: 0.25); an unknown price is above")
    group.add_argument("--approve-above-mb", metavar="N", help="megabytes of download (default: 100)")


def _data_rules(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "what may be imported (a refusal names its rule; it holds for folders and the Hub)"
    )
    group.add_argument(
        "--allow-licences",
        "--allow-licenses",
        metavar="LIST",
        help="only these, e.g. mit,apache-2.0 (default: any named)",
    )
    group.add_argument(
        "--any-licence", "--any-license", action="store_true", help="also data that states no licence, or 'other'"
    )
    group.add_argument("--max-dataset-mb", metavar="N", help="the largest dataset (default: 500)")
    group.add_argument(
        "--allow-gated",
        action="store_true",
        help="also gated datasets whose terms you have accepted; sends your HF login",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    # The server of --web talks to the app through pipes and says so.
    has_screen = "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())
    if arguments.command is None and not arguments.web:
        if not has_screen:
            parser.print_help()
            return 0
        arguments = parser.parse_args(["chat"])
    try:
        command = arguments.command or "web"
        if command in ("chat", "web"):
            from agent.front import COMMANDS
        else:
            from agent.commands import COMMANDS
        code = COMMANDS[command](arguments)
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return code
    except P2MError as error:
        from p2m.llm.redact import redact

        print(f"p2m: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("p2m: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `p2m log RUN | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("P2M_DEBUG"):
            raise
        print(f"p2m: internal error: {type(error).__name__}: {error}. Set P2M_DEBUG=1 to see where", file=sys.stderr)
        return EXIT_INTERNAL


if __name__ == "__main__":
    sys.exit(main())
