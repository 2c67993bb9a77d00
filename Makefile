# Two commands matter: `cargo run --release -- demo` and `make check`.
CARGO ?= cargo
WINDOWS := x86_64-pc-windows-gnu
# Programs that the tests drive, as Debian packages.
TOOLS := curl swaks msmtp fetchmail isync dovecot-imapd dovecot-pop3d postfix python3 openssl gcc \
	getmail6 offlineimap3 neomutt interimap libmail-java default-jdk-headless \
	chromium chromium-driver faketime
# Libraries that the tests drive, from the Python Package Index.
PYTHON := msal==1.37.0 msal-extensions==1.3.1

.PHONY: check tools format lint test docs windows bench fuzz hostile faults

check: tools format lint test docs windows
	@echo 'make check: all passed'

# Installs what is missing; on a machine that is not Debian the tests name what they lack.
tools:
	@packaging/install-test-tools $(TOOLS)
	@packaging/install-test-python target/test-python $(PYTHON)

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings

test:
	AUTHBRIDGE_REQUIRE_TOOLS=1 $(CARGO) test --locked

docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

# The Windows target compiles, where its standard library and a C compiler can be had.
windows:
	@packaging/check-windows $(WINDOWS)

# Runs each fuzz target for so long and prints what became of it: `make fuzz SECONDS=60 [TARGETS=…]`.
SECONDS ?= 60
TARGETS ?=
fuzz:
	@packaging/fuzz $(SECONDS) $(TARGETS)

# The crowd of hostile clients in full, against the optimised program.
HOSTILE ?= 5000
hostile:
	AUTHBRIDGE_HOSTILE=$(HOSTILE) $(CARGO) test --locked --release --test all hostile:: -- \
		--test-threads 1 --nocapture

bench:
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench wire --bench mailbox

# Kills, broken connections, failing services and jumping clocks while clients send; ten minutes.
# AUTHBRIDGE_FAULTS=seed,rounds repeats a run.
faults:
	$(CARGO) test --locked --test all faults::a_short_storm -- --ignored --nocapture
	$(CARGO) test --locked --test all faults::a_long_storm -- --ignored --nocapture
