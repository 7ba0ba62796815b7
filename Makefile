# Every task of this project, the same here and in CI. `make` alone lists them.
SHELL := /bin/bash
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo test lab check format bench release lock clean

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## everything from a fresh Debian machine to a protected page in your browser
	@.ci/setup demo
	@exec $(PYTHON) -m tests.demo $(ARGS)

test: ## every test, set-up included; ARGS="-k login" chooses
	@.ci/setup test
	@exec $(PYTHON) -m tests.run -n 2 --dist loadfile $(ARGS)

lab: ## whole Debian machines that boot, are deployed and fail; as root; ARGS="-k reboot" chooses
	@.ci/setup lab
	@exec $(PYTHON) -m tests.run -m lab -n 2 tests/lab $(ARGS)

check: ## format, lint, types and imports, without changing anything
	@.ci/setup test
	@failed=; for tool in "ruff format --check --output-format concise ." "ruff check --output-format concise ." mypy "lint-imports --no-logo"; do \
		echo "-- $$tool"; .venv/bin/$$tool || failed="$$failed, $$tool"; \
	done; echo "-- ansible-lint"; .ci/ansible-lint || failed="$$failed, ansible-lint"; \
	if [ "$$failed" ]; then echo "make check failed:$${failed#,}" >&2; exit 1; fi

format: ## put every file into the house's format
	@.ci/setup test
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench: ## the performance table, JSON beside it
	@.ci/setup bench
	@exec $(PYTHON) -m bench $(ARGS)

release: ## dist/authd-VERSION.tar.gz, which machines install; ARGS="--label NAME" between releases
	@.ci/setup test
	@.ci/release $(ARGS)

lock: ## bring the lock files up to pyproject.toml; ARGS=--upgrade takes the newest versions
	@.ci/lock $(ARGS)

clean: ## remove all that these tasks made in this checkout
	rm -rf .venv .cache .demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache \
		tests/idp/node_modules tests/verifiers/node_modules *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
