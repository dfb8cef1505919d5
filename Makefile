# tkgfix: the two commands to know are `make demo` and `make test`. Both set up all that they need.

SHELL := /bin/bash
BIN   := bin
GO    := go
# Which tests of real nodes e2e-real runs: all.
REAL   = ^TestReal
# The name of the container image, and what it is made for.
IMAGE     = tkgfix.dev/tkgfix:dev
PLATFORMS = linux/amd64 linux/arm64
# The Kubernetes binaries of the laboratory, built once into the user's cache.
KUBE   = $(shell hack/kube/build.sh)
# The agent of Argo CD's GitOps engine, built there too.
GITOPS = $(shell hack/gitops/build.sh)

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

help: ## show the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build tkgfix and tkgfix-lab into bin/
	$(GO) build -trimpath -o $(BIN)/ ./cmd/tkgfix ./cmd/tkgfix-lab

deps: ## install the Debian packages that tests and laboratory need
	hack/deps.sh

kube: ## build the laboratory's Kubernetes binaries (minutes the first time)
	hack/kube/build.sh

demo: deps kube build ## the main job in the laboratory: from ErrImagePull to Running
	TKGFIX_KUBE=$(KUBE) hack/demo.sh

test: deps kube check ## every test, the remediation in the laboratory among them
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v -e '/e2e$$' -e '/e2e/' -e '/cmd/tkgfix-lab$$')
	hack/fuzz.sh 20000x internal/state internal/wire/fromproto
	hack/fuzz.sh 2000x workflow internal/certs internal/tkg internal/pull internal/nodelook internal/source
	@# These two bring laboratories up, each of a dozen processes: one after the other. The doubles of make crashtest are caught
	@# in internal/crashtest too, in less time.
	TKGFIX_KUBE=$(KUBE) CGO_ENABLED=1 $(GO) test -race -p 1 -timeout 20m -skip TestCrashtestCatches ./cmd/tkgfix-lab ./e2e

e2e-real: deps kube ## the truth test: nodes of real containerd, kubelet and OpenSSH (Linux, root)
	TKGFIX_KUBE=$(KUBE) $(GO) test -count=1 -timeout 20m -tags realnodes -run '$(REAL)' ./e2e

e2e-install: deps kube ## Helm, kustomize and the one file, on a real API server and on real kubelets (Linux, root)
	TKGFIX_KUBE=$(KUBE) $(GO) test -count=1 -timeout 20m ./e2e/install
	TKGFIX_KUBE=$(KUBE) $(GO) test -count=1 -timeout 20m -tags realnodes -run '^TestInstalled$$' ./e2e

e2e-matrix: deps kube ## every generation of TKG with every fault: the remedy, the run, and pods that pull
	@TKGFIX_KUBE=$(KUBE) GO=$(GO) hack/matrix.sh

e2e-gitops: deps kube ## a commit starts a remediation and a commit approves it: Git, Argo CD's engine, the controller, a laboratory
	TKGFIX_KUBE=$(KUBE) TKGFIX_GITOPS=$(GITOPS) $(GO) test -count=1 -timeout 10m -tags gitops ./e2e/gitops

e2e-replicas: kube ## replicas of the controller that are killed, frozen and cut off while they delete (Linux, root)
	TKGFIX_KUBE=$(KUBE) CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 10m -tags replicas ./e2e/replicas

crashtest: deps kube build ## kill the documented fix at every boundary, in laboratories, after what must be caught is caught
	TKGFIX_KUBE=$(KUBE) $(GO) test -count=1 -timeout 20m -run TestCrashtestCatches ./e2e
	TKGFIX_KUBE=$(KUBE) $(BIN)/tkgfix crashtest examples/workflows/documented-fix.yaml

crashtest-generations: deps kube build ## kill the roll and the recreate at every boundary, in a laboratory of each generation of TKG
	TKGFIX_KUBE=$(KUBE) hack/crashtest-generations.sh $(BIN)

bench-controller: kube ## what 1,000 Runs at rest cost a controller, over ten minutes: BENCH='-runs 100 -for 2m' for less
	TKGFIX_KUBE=$(KUBE) $(GO) test -count=1 -timeout 90m -tags benchcontroller -run '^TestBenchController$$' -v ./e2e -args $(BENCH)

check: ## formatting, vet and tidy modules; changes nothing
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "not gofmt-ed:"; echo "$$bad"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...

manifests: ## write config/install.yaml, and the chart's copies of what is in config/, again
	hack/manifests.sh

image: ## make the container image as an archive, without a container engine: IMAGE=, PLATFORMS=
	hack/image.sh $(IMAGE) $(BIN)/tkgfix-image.tar "$(PLATFORMS)"

image-push: ## make the image and push it to the registry in its name: IMAGE=registry.example/tkgfix:1
	hack/image.sh $(IMAGE) $(BIN)/tkgfix-image.tar "$(PLATFORMS)" -push

fuzz: ## each fuzz target with 100000 inputs
	hack/fuzz.sh 100000x

generate: ## write generated code again
	$(GO) generate ./...

clean: ## remove what was built here
	rm -rf $(BIN)

.PHONY: help build deps kube demo test e2e-real e2e-install e2e-matrix e2e-gitops e2e-replicas crashtest crashtest-generations bench-controller check manifests image image-push fuzz generate clean
