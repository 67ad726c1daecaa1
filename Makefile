# What a user and a developer call. Variables: make up MODEL=demo SERVICE=ui PORT=8000 DATA_DIR=… DETACH=1
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV ?= .venv
export VENV
KINOKIT := $(VENV)/bin/kinokit
# Given variables become flags; what is not given is left to the environment and the configuration file.
flags = $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") $(if $(CONFIG),--config "$(CONFIG)")
up_flags = $(if $(MODEL),--model "$(MODEL)") $(if $(SERVICE),--service $(SERVICE)) $(if $(PORT),--port $(PORT)) \
	$(if $(HOST),--host $(HOST)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(DETACH),--detach)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  variables: MODEL=demo SERVICE=ui|api PORT=8000 HOST=0.0.0.0 DATA_DIR=… PROFILE=… DETACH=1 TORCH_INDEX_URL=…"

.PHONY: install install-dev
install: ## Create .venv with the kit and the studio (CUDA's torch where there is an NVIDIA driver), and the command
	@scripts/install.sh gpu ui
	@scripts/link-command.sh

install-dev: ## The same, with what tests and checks need
	@scripts/install.sh gpu ui postgres s3 otel dev

export RELEASE_FOLDER MODEL SERVICE PORT HOST PROFILE DETACH DATA_DIR CONFIG RUNTIME
.PHONY: up up-native down logs status plan models
up: ## Start the service and print its address; ends with Ctrl-C, or DETACH=1. RUNTIME=docker|native
	@scripts/up.sh

up-native: install
	@KINOKIT_COMMAND="make$(if $(DATA_DIR), DATA_DIR=$(DATA_DIR))" exec $(KINOKIT) up $(up_flags) $(flags)

down: ## End the service of this data directory
	@scripts/composed.sh down; code=$$?; [ $$code != 9 ] && exit $$code; $(KINOKIT) down $(flags)

logs: ## Follow the logs
	@scripts/composed.sh logs; code=$$?; [ $$code != 9 ] && exit $$code; $(KINOKIT) logs --follow $(flags)

status: ## How the service stands
	@scripts/composed.sh status; code=$$?; [ $$code != 9 ] && exit $$code; $(KINOKIT) status $(flags)

plan: install ## What would run on this machine and why; touches nothing
	@$(KINOKIT) plan $(if $(MODEL),--model "$(MODEL)") $(flags)

models: install ## All models, and which of them fit here
	@$(KINOKIT) models $(flags)

.PHONY: images
images: ## Build the Docker images; TAG=dev
	@scripts/images.sh

bench-%: install ## Measure an engine on this machine: make bench-svd, bench-wan; ARGS="…"
	@PYTHONPATH=. $(VENV)/bin/python scripts/bench_$*.py $(ARGS)

pictures: install-dev ## Take the pictures of the documentation again
	@PYTHONPATH=. $(VENV)/bin/python scripts/pictures.py $(ARGS)

.PHONY: release release-check
release: install ## Build all that a publisher uploads into dist/release-VERSION; RELEASE_URL=https://… IMAGES=1
	@$(VENV)/bin/python scripts/release.py $(if $(RELEASE_URL),--url "$(RELEASE_URL)") $(if $(IMAGES),--images) $(ARGS)

release-check: install-dev ## Run each printed line from a release in clean containers; RELEASE_FOLDER=dist/release-…
	$(VENV)/bin/python -m pytest -s tests/images/test_release_check.py $(ARGS)

# Most tests wait for a process, a socket or a page: two workers more than cores.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
pytest = $(VENV)/bin/python -m pytest --numprocesses $(WORKERS)

.PHONY: test test-quick lint format lock
test: ## Everything that proves the kit: installs what is missing, then runs all tests; ARGS="…" go to pytest
	@scripts/system-packages.sh
	@scripts/install.sh gpu ui postgres s3 otel dev
	$(pytest) $(ARGS)

test-quick: install-dev ## In three minutes: no Docker, browser, PostgreSQL, whole boots or long computing
	$(pytest) --ignore tests/journeys -m "not docker and not browser and not postgres and not slow" $(ARGS)

lint: install-dev ## Style, types and shell scripts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@! command -v shellcheck > /dev/null || git ls-files '*.sh' .ci/run | xargs shellcheck

format: install-dev ## Write the code as the formatter wants it
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: install ## Write requirements/*.txt anew; UPGRADE=1 takes the newest versions
	@UV=$(VENV)/bin/uv UPGRADE=$(UPGRADE) scripts/lock.sh
