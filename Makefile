# All tasks of this repository. `make help` lists them.

# rustup reads the toolchain from rust-toolchain.toml. docs/development.md says what else a target needs.
CARGO ?= cargo
LISTEN ?= 127.0.0.1:9443
ADMIN_LISTEN ?= 127.0.0.1:8080
# Not `?=`, because some shells set a variable of this name.
SECONDS = 180
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
ACTIONLINT_VERSION := 1.7.12
ZIZMOR_VERSION := 1.32.0
FUZZ_TARGETS := review policy yaml domain linkedin certificates
# The maximum length of an input, in bytes. Longer inputs take more time and find little more.
FUZZ_LENGTH := 8192
TOOLS := target/tools
# Words in the names of end-to-end tests, such as E2E="floor:: verdicts::"; all tests without this.
E2E ?=
VERSIONS ?=

.DEFAULT_GOAL := help
.PHONY: help build run test smoke editor yaml kustomize alerts formats e2e versions e2e-pods neighbours publication matrix siege lint workflows deny fuzz bench peers soak image release release-check reproducible generate publish control-plane nodes cluster clean

help: ## List these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

build: ## Build the program for development
	$(CARGO) build --locked

run: build ## Serve on the example records, and print two calls to try
	@scripts/try "$(CURDIR)" "$(LISTEN)"
	@target/debug/crm-admission serve --listen $(LISTEN) --admin-listen $(ADMIN_LISTEN) \
		--tls-dev certs --directory memory --resources manifests/examples --shutdown-delay 0s --log debug

test: ## Run all tests that need only Rust
	$(CARGO) test --locked --workspace

editor: build ## Drive the language server with Neovim (needs nvim)
	tests/editor/run target/debug/crm-admission

yaml: target/kubectl-yaml/kubectl-yaml ## Compare how files are read with kubectl (needs Go; YAML_FILES=2000 YAML_SEED=1)
	$(CARGO) test --locked --test yaml -- --nocapture

target/kubectl-yaml/kubectl-yaml: tests/kubectl-yaml/main.go tests/kubectl-yaml/go.mod tests/kubectl-yaml/go.sum
	cd tests/kubectl-yaml && go build -o ../../$@ .

kustomize: ## Test `check` with builds of kustomize, and of kubectl if it is there (needs Go)
	tests/kustomize/build
	$(CARGO) test --locked --test kustomize

alerts: ## Test with promtool when the alerts fire, and when they do not (needs Go)
	tests/alerts/build
	@mkdir -p target/alerts
	@# promtool reads the groups without the object around them.
	@sed '1,/^spec:$$/d; s/^  //' manifests/components/monitoring/prometheusrule.yaml > target/alerts/rules.yaml
	$(TOOLS)/bin/promtool check rules target/alerts/rules.yaml
	$(TOOLS)/bin/promtool test rules tests/alerts/*.yaml

formats: build ## Validate records with kubeconform and reports in SARIF, and run health checks for Argo CD and Flux (needs Go and npm)
	tests/formats/build
	tests/formats/run

# make passes KUBERNETES on in the environment, to `build` and to the tests.
control-plane: ## Build etcd, kube-apiserver, kubectl and helm from source, once (needs Go; minutes; KUBERNETES=1.31)
	tests/control-plane/build

e2e: control-plane ## Run the tests with a real API server and kubectl (KUBERNETES=1.31; E2E="floor:: verdicts::")
	@# A collector of traces.
	tests/collector/build
	$(CARGO) test --locked --test e2e -- --skip rollout:: $(E2E)
	@# Separately, because they need the whole machine.
	$(if $(E2E),,$(CARGO) test --locked --test e2e -- rollout::)

versions: ## Run `make e2e` on each version of Kubernetes, and write the table in the README (VERSIONS="1.31 1.32"; PART=1)
	scripts/versions $(VERSIONS)

nodes: control-plane ## Build kubelet, containerd and others from source, once, and the program for images (needs Go; minutes)
	CARGO="$(CARGO)" tests/pods/build

e2e-pods: nodes ## Run the tests with nodes and pods (needs root; ROLLOUT_RATE=50)
	@# One at a time, because each cluster needs the whole machine.
	$(CARGO) test --locked --test e2e-pods -- --test-threads=1 --show-output --skip matrix:: --skip neighbours:: --skip publication::

neighbours: nodes ## Test beside cert-manager, metrics-server, Prometheus and enforced NetworkPolicies (needs root; minutes to build)
	tests/pods/neighbours/build
	$(CARGO) test --locked --test e2e-pods -- --test-threads=1 --show-output neighbours::

publication: nodes ## Push, sign, pull and install what `make release` has built, in a cluster with pods (needs root)
	tests/pods/publication/build
	$(CARGO) test --locked --test e2e-pods -- --test-threads=1 --show-output publication::

matrix: nodes ## Install in every way during writes, and print how many failed (needs root; half an hour; MATRIX=helm_with_ipv6)
	tests/pods/neighbours/build cert-manager
	$(CARGO) test --locked --test e2e-pods -- --test-threads=1 --show-output matrix::$(MATRIX)

siege: ## Attack the program while honest callers call it (SIEGE_SECONDS=8 for each attack)
	@# Tests of time limits only wait, so they run in parallel. Attacks need the whole machine, so they run one at a time.
	@mkdir -p target; rm -f target/siege.txt; failed=0; \
	$(CARGO) test --locked --test siege -- --test-threads=16 limits:: || failed=1; \
	SIEGE_TABLE=target/siege.txt $(CARGO) test --locked --test siege -- --skip limits:: --test-threads=1 --nocapture || failed=1; \
	cat target/siege.txt; exit $$failed

smoke: ## Run the example of `make run` in the README, and check the output
	scripts/smoke

cluster: $(if $(PODS),nodes,control-plane build) ## Start a control plane to try things in, until Ctrl-C (KUBERNETES=1.31, or PODS=1: with pods, as root; FAMILY=ipv4)
	$(CARGO) run --locked --quiet --example $(if $(PODS),playground-pods -- $(FAMILY),playground)

lint: deny workflows ## Check format, lints, licences, workflows, docs, that crm-core is pure, and generated files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --test e2e --test e2e-pods --test siege --test yaml --test kustomize -- -D warnings
	CARGO="$(CARGO)" scripts/pure
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --workspace --document-private-items
	$(CARGO) test --locked --test integration -- generated:: crds::

workflows: actionlint := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)/actionlint
workflows: zizmor := $(TOOLS)/zizmor-$(ZIZMOR_VERSION)
workflows: ## Check the workflows and the action of GitHub (needs Go and Python, once)
	@[ -x $(actionlint) ] || GOBIN=$(abspath $(dir $(actionlint))) go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)
	@[ -d $(zizmor) ] || { python3 -m pip install --quiet --disable-pip-version-check --no-deps --root-user-action=ignore \
		--target $(zizmor).part zizmor==$(ZIZMOR_VERSION) && mv $(zizmor).part $(zizmor); }
	@# Without shellcheck and pyflakes, so that the result does not depend on what is installed.
	$(actionlint) -shellcheck= -pyflakes= .github/workflows/*.yml examples/ci/github-workflow.yml
	$(zizmor)/bin/zizmor --quiet --offline --pedantic .github action.yml

deny: $(TOOLS)/bin/cargo-deny ## Check dependencies: bans, licences, sources, and advisories if their database can be reached
	$(TOOLS)/bin/cargo-deny check bans licenses sources
	@if timeout 60 $(TOOLS)/bin/cargo-deny fetch db >/dev/null 2>&1; then $(TOOLS)/bin/cargo-deny check --disable-fetch advisories; else echo "advisories were not checked, because their database cannot be reached"; fi

$(TOOLS)/bin/cargo-deny:
	$(CARGO) install --quiet --locked --root $(TOOLS) --version $(CARGO_DENY_VERSION) cargo-deny

fuzz: SECONDS = 60
fuzz: $(TOOLS)/bin/cargo-fuzz ## Try random input on each target of fuzz/ for SECONDS=60, until something fails
	$(CARGO) run --locked --quiet --example fuzz-seeds
	@# Without a sanitizer, because this code has no `unsafe`: so targets are fast, and a stable toolchain builds them.
	@set -e; cd fuzz; for target in $(FUZZ_TARGETS); do echo "== $$target"; \
	../$(TOOLS)/bin/cargo-fuzz run --sanitizer none --target-dir ../target/fuzz $$target -- \
		-max_total_time=$(SECONDS) -max_len=$(FUZZ_LENGTH) -timeout=10 -print_final_stats=1; done

$(TOOLS)/bin/cargo-fuzz:
	$(CARGO) install --quiet --locked --root $(TOOLS) --version $(CARGO_FUZZ_VERSION) cargo-fuzz

bench: ## Compare the program with others, and write docs/performance.md (BENCH_ONLY=direct,api,scale,conditions,engine,check,lsp,replay)
	CARGO="$(CARGO)" scripts/bench

peers: ## Build Kyverno and Gatekeeper, once, and measure them beside the program (needs Go; docs/peers.md)
	CARGO="$(CARGO)" benches/peers/run

soak: ## Run the program under full load for SECONDS=180, and print its resource usage
	SOAK_SECONDS=$(SECONDS) $(CARGO) bench --locked --bench soak

image: ## Build the image for amd64 and arm64 without a container engine: target/image and target/image.tar (needs Python)
	@CARGO="$(CARGO)" scripts/image

release: ## Build everything that a release consists of, and check it: target/release-artifacts (needs Python, Go, qemu-user and skopeo)
	@scripts/release-check tools
	@CARGO="$(CARGO)" scripts/release
	@scripts/release-check

release-check: ## Try what `make release` has built, the program for arm64 too (needs qemu-user and skopeo)
	@scripts/release-check

reproducible: ## Build a release from two clones of this commit, and compare (needs Python and Go; half an hour)
	@CARGO="$(CARGO)" scripts/reproducible

generate: ## Write the generated files: CRDs, schemas, pages and tables in docs/, the floor, copies in the chart, and of the version
	UPDATE_GENERATED=1 $(CARGO) test --locked --quiet --test integration -- generated:: crds::

publish: ## Push the image and the chart of `make release` to REGISTRY=ghcr.io/example (needs Go and a login)
	@scripts/publish target/release-artifacts "$(REGISTRY)"

clean: ## Delete all build output, including the control plane and development certificates
	$(CARGO) clean
	rm -f certs/*.crt certs/*.key
