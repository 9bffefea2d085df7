# Contiv: "make help" lists what can be done.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION    ?= 0.1.0-dev
COMMIT     := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
BUILD_TIME := $(shell date -u +%Y-%m-%dT%H:%M:%SZ)
STAMP      := github.com/contiv/contiv/install/version
LDFLAGS    := -s -w -X $(STAMP).Version=$(VERSION) -X $(STAMP).GitCommit=$(COMMIT) -X $(STAMP).BuildTime=$(BUILD_TIME)
BINARIES   := $(notdir $(wildcard cmd/*))

# Tools that are built once and kept outside the tree.
CACHE        ?= $(HOME)/.cache/contiv
LINT_VERSION := v2.6.1
LINT         := $(CACHE)/golangci-lint-$(LINT_VERSION)
CNI_VERSION  := v1.9.1
CNI_BIN      := $(CACHE)/cni-$(CNI_VERSION)
CONSUL_VERSION := 1.20.6
CONSUL_DIR     := $(CACHE)/consul-$(CONSUL_VERSION)

export CGO_ENABLED ?= 0
export CONTIV_CNI_BIN := $(CNI_BIN)
export CONTIV_CONSUL ?= $(CONSUL_DIR)/consul

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install the Debian packages that the project uses (quiet when nothing is missing)
	@install/deps.sh

.PHONY: build
build: ## build static binaries into bin/
	@mkdir -p bin
	@go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ $(addprefix ./cmd/,$(BINARIES))

.PHONY: demo
demo: deps ## a three-host cluster and a short tour; leaves the cluster running
	@install/patiently.sh "building (minutes the first time, seconds after)" $(MAKE) --no-print-directory build
	@install/demo/demo.sh

.PHONY: demo-down
demo-down: ## remove the demo's cluster and everything it made, also after a crash
	@install/demo/demo-down.sh

.PHONY: test
test: deps build $(CNI_BIN) $(CONSUL_DIR) ## every test, unit to end-to-end (as root)
	@install/test.sh

.PHONY: check
check: $(LINT) ## format, vet, linters, generated files up to date
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [[ -z $$unformatted ]] || { echo "run gofmt on: $$unformatted"; exit 1; }
	@go vet ./...
	@go mod tidy -diff
	@$(LINT) run ./...
	@echo "generated pages" && go test -count=1 -run 'TestDocs|TestDocument|TestExamplesDecode|TestNetctlReference' ./ofnet/pipeline ./test/protocol ./test/docs

.PHONY: bench
bench: deps build $(CNI_BIN) $(CONSUL_DIR) ## measure the budgets of docs/performance.md
	@go run ./test/bench

.PHONY: bench-scale
bench-scale: build ## measure 1 000 simulated agents (budget P8; minutes, gigabytes)
	@go run ./test/bench -only P8

.PHONY: reliability
reliability: deps ## measure what bad days cost (the table of docs/reliability.md)
	@go test ./test/e2e -run '^TestBadDays$$' -count=1 -timeout 20m -v -rule-changes=10000 | grep -E '^ +\||^(---|FAIL|ok)|^ +[a-z]+_test.go'

.PHONY: consul
consul: $(CONSUL_DIR) ## build the Consul agent that tests and the sandbox use (once, minutes)

.PHONY: clean
clean: ## remove what build made
	@rm -rf bin

$(LINT):
	@mkdir -p $(CACHE)
	@GOBIN=$(CACHE)/build install/patiently.sh "building golangci-lint $(LINT_VERSION) (once)" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(CACHE)/build/golangci-lint $@

# The reference CNI plugins: portmap is chained behind ours in tests, bridge and host-local are a benchmark's
# denominator.
$(CNI_BIN):
	@mkdir -p $(CACHE)
	@install/patiently.sh "building the reference CNI plugins $(CNI_VERSION) (once)" install/cni-plugins.sh $(CNI_VERSION) $@

$(CONSUL_DIR):
	@mkdir -p $(CACHE)
	@install/patiently.sh "building Consul $(CONSUL_VERSION) (once, minutes)" nice -n 15 install/consul.sh v$(CONSUL_VERSION) $@
