package portcullis.authz_test

import data.portcullis.authz

alice := {
	"kind": "user",
	"roles": ["editor"],
	"scopes": ["appointments:read", "appointments:write"],
	"tenant": "acme",
	"region": "EU",
	"spiffe_id": null,
	"trust_domain": null,
}

billing := {
	"kind": "workload",
	"roles": [],
	"scopes": [],
	"tenant": null,
	"region": null,
	"spiffe_id": "spiffe://corp.example/billing",
	"trust_domain": "corp.example",
}

anonymous := {
	"kind": "anonymous",
	"roles": [],
	"scopes": [],
	"tenant": null,
	"region": null,
	"spiffe_id": null,
	"trust_domain": null,
}

asks(method, principal, headers) := {
	"request": {"method": method, "headers": headers},
	"principal": principal,
	"route": {"name": "appointments", "operation": null, "params": {}, "residency": ["EU"]},
	"gateway": {"region": "eu-west"},
}

test_an_editor_may_write_in_their_tenant if {
	authz.decision == {"allow": true} with input as asks("PUT", alice, {"x-tenant": ["acme"]})
}

test_an_editor_may_not_delete if {
	authz.decision == {
		"allow": false,
		"status": 403,
		"reason": "no role of yours allows this",
	} with input as asks("DELETE", alice, {})
}

test_every_reason_is_told if {
	authz.decision.reason == "no role of yours allows this; this is another tenant's" with input as asks(
		"DELETE",
		alice,
		{"x-tenant": ["globex"]},
	)
}

test_a_listed_workload_may_read if {
	authz.decision.allow with input as asks("GET", billing, {"x-tenant": ["acme"]})
}

test_a_listed_workload_may_not_write if {
	authz.decision.reason == "this workload may not do that" with input as asks("PUT", billing, {"x-tenant": ["acme"]})
}

test_nobody_is_refused if {
	authz.decision == {
		"allow": false,
		"status": 403,
		"reason": "nobody has proven who they are",
	} with input as asks("GET", anonymous, {})
}

test_the_wrong_region_is_451 if {
	authz.decision == {
		"allow": false,
		"status": 451,
		"reason": "this route may not be served from here; your data must stay elsewhere",
	} with input as object.union(asks("GET", alice, {}), {"gateway": {"region": "us-east"}})
}

test_an_empty_input_is_refused if {
	not authz.decision.allow with input as {}
}
