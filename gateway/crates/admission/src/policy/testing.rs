//! Runs `*_test.rego` with the engine that decides about live requests.
