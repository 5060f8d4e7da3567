package portcullis.tenant_test

import data.portcullis.tenant

asks(method, principal, headers, params) := {
	"request": {"method": method, "headers": headers},
	"principal": principal,
	"route": {"params": params},
}

alice := {"kind": "user", "tenant": "acme"}

scheduler := {"kind": "workload", "tenant": null}

test_naming_no_tenant_means_ones_own if {
	tenant.allow with input as asks("GET", alice, {}, {})
}

test_ones_own_tenant_may_be_named_in_the_header_or_the_path if {
	tenant.allow with input as asks("POST", alice, {"x-tenant": ["acme"]}, {})
	tenant.allow with input as asks("POST", alice, {}, {"tenant": "acme"})
	tenant.allow with input as asks("POST", alice, {"x-tenant": ["acme"]}, {"tenant": "acme"})
}

test_another_tenant_is_refused if {
	denied := asks("GET", alice, {"x-tenant": ["globex"]}, {})

	not tenant.allow with input as denied
	tenant.reasons == {"this is another tenant's"} with input as denied
	not tenant.allow with input as asks("GET", alice, {}, {"tenant": "globex"})
}

test_header_and_path_must_agree if {
	denied := asks("GET", alice, {"x-tenant": ["acme"]}, {"tenant": "globex"})

	not tenant.allow with input as denied
	tenant.reasons == {"the request names more than one tenant"} with input as denied
}

test_a_second_header_value_is_seen if {
	not tenant.allow with input as asks("GET", alice, {"x-tenant": ["acme", "globex"]}, {})
}

test_a_tenant_that_shares_may_be_read_and_not_written if {
	labs := {"kind": "user", "tenant": "acme-labs"}

	tenant.allow with input as asks("GET", labs, {"x-tenant": ["acme"]}, {})
	not tenant.allow with input as asks("PUT", labs, {"x-tenant": ["acme"]}, {})
	not tenant.allow with input as asks("GET", alice, {"x-tenant": ["acme-labs"]}, {})
}

test_a_user_without_a_tenant_is_refused if {
	denied := asks("GET", {"kind": "user", "tenant": null}, {}, {})

	not tenant.allow with input as denied
	tenant.reasons == {"the principal has no tenant"} with input as denied
}

test_a_workload_must_name_its_tenant if {
	denied := asks("GET", scheduler, {}, {})

	tenant.allow with input as asks("GET", scheduler, {"x-tenant": ["acme"]}, {})
	not tenant.allow with input as denied
	tenant.reasons == {"a workload must name the tenant it acts for"} with input as denied
}

test_nobody_has_no_tenant if {
	not tenant.allow with input as asks("GET", {"kind": "anonymous", "tenant": null}, {}, {})
}
