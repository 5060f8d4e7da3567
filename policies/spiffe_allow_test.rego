package portcullis.spiffe_allow_test

import data.portcullis.spiffe_allow

call(method, name, trust_domain, path) := {
	"request": {"method": method},
	"principal": {
		"kind": "workload",
		"spiffe_id": concat("", ["spiffe://", trust_domain, path]),
		"trust_domain": trust_domain,
		"roles": [],
		"scopes": [],
	},
	"route": {"name": name, "operation": null},
}

test_a_listed_workload_may_do_what_its_entry_says if {
	spiffe_allow.allow with input as call("GET", "appointments", "corp.example", "/billing")
	spiffe_allow.allow with input as call("POST", "appointments", "corp.example", "/scheduler")
	spiffe_allow.allow with input as call("GET", "appointments", "partner.example", "/clinic/sync")
}

test_a_listed_workload_may_do_no_more if {
	denied := call("POST", "appointments", "corp.example", "/billing")

	not spiffe_allow.allow with input as denied
	spiffe_allow.reasons == {"this workload may not do that"} with input as denied
	not spiffe_allow.allow with input as call("GET", "programs", "corp.example", "/billing")
}

test_an_unlisted_workload_is_refused if {
	denied := call("GET", "appointments", "corp.example", "/unknown")

	not spiffe_allow.allow with input as denied
	spiffe_allow.reasons == {"this workload is not known here"} with input as denied
}

test_the_same_path_in_another_trust_domain_is_refused if {
	not spiffe_allow.allow with input as call("GET", "appointments", "evil.example", "/billing")
	not spiffe_allow.allow with input as call("GET", "appointments", "partner.example", "/billing")
}

test_a_longer_path_is_another_workload if {
	not spiffe_allow.allow with input as call("GET", "appointments", "corp.example", "/billing/child")
}

test_a_user_is_no_workload if {
	user := {"kind": "user", "spiffe_id": null, "trust_domain": null, "roles": ["admin"], "scopes": ["appointments:read"]}

	not spiffe_allow.allow with input as {
		"request": {"method": "GET"},
		"principal": user,
		"route": {"name": "appointments", "operation": null},
	}
}
