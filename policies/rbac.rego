# What a role may do, and the scope that the token must carry for it.
#
# The role says what somebody may do at all; the scope says what they let this application do for them. Both are
# needed. Roles stand in data.portcullis.roles, as role -> route -> actions.
package portcullis.rbac

# The action that the request asks for: by the operation's name where the data has one, otherwise by the method.
default action := "unknown"

action := data.portcullis.operations[input.route.operation]

action := "read" if {
	not named_operation
	input.request.method in {"GET", "HEAD"}
}

action := "write" if {
	not named_operation
	input.request.method in {"POST", "PUT", "PATCH"}
}

action := "delete" if {
	not named_operation
	input.request.method == "DELETE"
}

named_operation if data.portcullis.operations[input.route.operation]

# The scope for the action: whatever changes something is writing as far as scopes go.
scope := concat(":", [input.route.name, "read"]) if action == "read"

scope := concat(":", [input.route.name, "write"]) if action in {"write", "delete", "manage"}

default role_allows := false

role_allows if {
	some role in input.principal.roles
	action in data.portcullis.roles[role][input.route.name]
}

default scope_allows := false

scope_allows if scope in input.principal.scopes

default allow := false

allow if {
	input.principal.kind == "user"
	role_allows
	scope_allows
}

reasons contains "no role of yours allows this" if not role_allows

reasons contains concat(" ", ["the scope", scope, "is missing"]) if not scope_allows
