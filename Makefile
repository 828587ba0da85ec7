# Copyright (c) 2026, the nixmac.linux_builder authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

.DEFAULT_GOAL := help
.PHONY: help quick test test-full lint units sanity bench site community demo demo-down lock clean
SHELL := /bin/bash

help: ## show this
	@bold= plain=; if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then bold=$$'\e[1m' plain=$$'\e[0m'; fi; \
	awk -F ':.*## ' -v bold="$$bold" -v plain="$$plain" \
		'/^[a-z-]+:.*## / { printf "  %smake %-10s%s %s\n", bold, $$1, plain, $$2 }' $(MAKEFILE_LIST)

demo: ## two Mac stand-ins, site.yml over SSH, a Linux build from a real VM on each, a second run with 0 changes
	@tests/tools/setup.sh
	@tests/lab/demo.sh

demo-down: ## remove all that the demo made
	@tests/lab/demo-down.sh

quick: ## lint, and the unit tests on one Python: a first green test in minutes
	@tests/tools/test.sh --quick

test: ## lint, sanity, units, and the whole thing end to end on a stand-in (at most 25 minutes on 2 cores)
	@tests/tools/test.sh

test-full: ## make test, and then what takes too long for it
	@tests/tools/test.sh --full

lint: ## only the checks that start nothing
	@tests/tools/setup.sh
	@tests/tools/lint.sh

sanity: ## only ansible-test sanity
	@tests/tools/setup.sh
	@tests/tools/copy.sh
	@tests/tools/ansible_test.sh sanity --venv

units: ## only the unit tests, on every Python here from 3.9 on
	@tests/tools/setup.sh
	@tests/tools/copy.sh
	@tests/tools/ansible_test.sh units --venv

bench: ## measure a fleet with this collection and without it; writes docs/benchmark.* (meant for 60 minutes on 2 cores)
	@bench/run

site: ## only the documentation site, into .cache/site/html
	@tests/tools/setup.sh
	@tests/tools/site.sh

community: ## only what Galaxy and the community's CI run: antsibull-nox, galaxy-importer
	@tests/tools/setup.sh
	@tests/tools/community.sh

lock: ## write the locks in tests/ anew (requirements*.txt from requirements*.in)
	@tests/tools/lock.sh

clean: ## remove what tests and tools left behind (.cache, the lab's image included)
	@tests/tools/clean.sh
