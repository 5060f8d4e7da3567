# Which workloads may call, by their SPIFFE ID.
#
# The list stands in data.portcullis.workloads, as trust domain -> path -> route -> actions: an ID that is not there
# is refused, and so is the same path in another trust domain.
package portcullis.spiffe_allow

import data.portcullis.rbac

# A valid SPIFFE ID is spiffe://trust-domain/path; the gateway has verified the certificate it comes from.
path := trim_prefix(input.principal.spiffe_id, concat("", ["spiffe://", input.principal.trust_domain])) if {
	input.principal.kind == "workload"
}

default known := false

known if data.portcullis.workloads[input.principal.trust_domain][path]

default allow := false

allow if {
	input.principal.kind == "workload"
	rbac.action in data.portcullis.workloads[input.principal.trust_domain][path][input.route.name]
}

reasons contains "this workload is not known here" if not known

reasons contains "this workload may not do that" if {
	known
	not allow
}
