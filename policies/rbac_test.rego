package portcullis.rbac_test

import data.portcullis.rbac

user(roles, scopes) := {"kind": "user", "roles": roles, "scopes": scopes}

request(method, name, operation, principal) := {
	"request": {"method": method},
	"principal": principal,
	"route": {"name": name, "operation": operation},
}

test_viewer_may_read if {
	rbac.allow with input as request("GET", "appointments", "getAppointment", user(["viewer"], ["appointments:read"]))
}

test_viewer_may_not_write if {
	denied := request("POST", "appointments", "createAppointment", user(["viewer"], ["appointments:write"]))

	not rbac.allow with input as denied
	rbac.reasons == {"no role of yours allows this"} with input as denied
}

test_editor_may_write if {
	rbac.allow with input as request("PUT", "appointments", "updateAppointment", user(["editor"], ["appointments:write"]))
}

test_editor_without_the_scope_may_not_write if {
	denied := request("PUT", "appointments", "updateAppointment", user(["editor"], ["appointments:read"]))

	not rbac.allow with input as denied
	rbac.reasons == {"the scope appointments:write is missing"} with input as denied
}

test_only_admin_may_delete if {
	scopes := ["appointments:write"]

	rbac.allow with input as request("DELETE", "appointments", "deleteAppointment", user(["admin"], scopes))
	not rbac.allow with input as request("DELETE", "appointments", "deleteAppointment", user(["editor"], scopes))
}

test_the_operation_names_the_action_where_the_data_says_so if {
	denied := request("POST", "programs", "createProgram", user(["editor"], ["programs:write"]))

	rbac.action == "manage" with input as denied
	not rbac.allow with input as denied
	rbac.allow with input as request("POST", "programs", "createProgram", user(["admin"], ["programs:write"]))
}

test_an_unknown_method_is_no_action if {
	unknown := request("PROPFIND", "appointments", null, user(["admin"], ["appointments:read", "appointments:write"]))

	rbac.action == "unknown" with input as unknown
	not rbac.allow with input as unknown
}

test_an_unknown_role_or_route_allows_nothing if {
	not rbac.allow with input as request("GET", "appointments", "getAppointment", user(["intern"], ["appointments:read"]))
	not rbac.allow with input as request("GET", "invoices", null, user(["admin"], ["invoices:read"]))
}

test_a_workload_has_no_roles if {
	workload := {"kind": "workload", "roles": ["admin"], "scopes": ["appointments:read"]}

	not rbac.allow with input as request("GET", "appointments", "getAppointment", workload)
}
