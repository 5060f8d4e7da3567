# The decision: everything else in this folder, put together.
#
#   policies:
#     baseline: { rego: policies/, data: policies/data.json,
#                 decision: data.portcullis.authz.decision, headers: [x-tenant] }
package portcullis.authz

import data.portcullis.rbac
import data.portcullis.residency
import data.portcullis.spiffe_allow
import data.portcullis.tenant

default allow := false

allow if {
	caller_allowed
	tenant.allow
	residency.allow
}

default caller_allowed := false

caller_allowed if rbac.allow

caller_allowed if spiffe_allow.allow

# Every reason against the request.
reasons contains "nobody has proven who they are" if input.principal.kind == "anonymous"

reasons contains reason if {
	input.principal.kind == "user"
	not rbac.allow
	some reason in rbac.reasons
}

reasons contains reason if {
	input.principal.kind == "workload"
	not spiffe_allow.allow
	some reason in spiffe_allow.reasons
}

reasons contains reason if {
	input.principal.kind != "anonymous"
	not tenant.allow
	some reason in tenant.reasons
}

reasons contains reason if {
	not residency.allow
	some reason in residency.reasons
}

# What the gateway asks for. Wrong residency is 451, so that a client knows that no other role would help.
decision := {"allow": true} if {
	allow
} else := {"allow": false, "status": 451, "reason": concat("; ", sort(reasons))} if {
	not residency.allow
} else := {"allow": false, "status": 403, "reason": concat("; ", sort(reasons))}
