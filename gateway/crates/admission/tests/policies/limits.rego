# What a policy must not do, for the tests of the Wasm engine. The first path segment says how much of it.
package p

n := to_number(input.request.segments[0])

default slow := true

slow := false if {
	some a in numbers.range(1, n)
	some b in numbers.range(1, n)
	a + b == 0
}

large if count(numbers.range(1, n)) == n

nothing if input.nothing

wrong := "yes"
