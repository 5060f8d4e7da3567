# Built-ins that are missing for Wasm, or forbidden, for the tests of the Wasm engine.
package p

decision if {
	regex.replace("a", "b", input.request.path) == "c"
	object.subset({"a": 1}, {"a": input.request.path})
	opa.runtime().env.HOME
	http.send({"method": "GET", "url": "http://127.0.0.1"}).status_code == 200
	sprintf("%s", [input.request.path]) == "d"
}
