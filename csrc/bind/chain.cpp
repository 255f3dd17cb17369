// Chains for Python: relprop.tape records them.
#include "chain.h"

#include <algorithm>

using namespace relprop::bind;

namespace {

// Whether the chain's own pointers lead to an array's numbers.
bool is_held(const std::vector<py::array>& held, std::size_t first, const py::array& array) {
  return std::any_of(held.begin() + static_cast<std::ptrdiff_t>(first), held.end(),
                     [&](const py::array& each) { return each.data() == array.data(); });
}

// (kernel(*arguments, **options), whether its work was kept). It is not where an array in `inputs` was copied on its way
// to the kernel, or the answer is not what the kernel wrote: a run would read, or leave, old numbers.
py::tuple call(Chain& chain, const py::object& kernel, const py::tuple& arguments, const py::dict& options,
               const py::list& inputs) {
  struct Recording {
    Chain* before;
    explicit Recording(Chain* chain) : before(Chain::recording()) { Chain::recording() = chain; }
    ~Recording() { Chain::recording() = before; }
  };
  const auto size = chain.size(), held = chain.held().size();
  py::object answer;
  {
    const Recording on(&chain);
    answer = kernel(*arguments, **options);
  }
  bool kept = chain.size() > size;
  for (py::handle input : inputs) kept = kept && is_held(chain.held(), held, py::cast<py::array>(input));
  if (py::isinstance<py::tuple>(answer)) {
    for (py::handle part : answer)
      kept = kept && (part.is_none() || (py::isinstance<py::array>(part) &&
                                         is_held(chain.held(), held, py::reinterpret_borrow<py::array>(part))));
  } else {
    kept = kept && py::isinstance<py::array>(answer) && is_held(chain.held(), held, py::reinterpret_borrow<py::array>(answer));
  }
  if (!kept) chain.shorten(size, held);
  return py::make_tuple(answer, kept);
}

}  // namespace

void bind_chain(py::module_& module) {
  using namespace py::literals;
  py::class_<Chain>(module, "Chain")
      .def(py::init<>())
      .def("__len__", &Chain::size)
      .def("call", &call, "kernel"_a, "arguments"_a, "options"_a, "inputs"_a)
      .def("run", &Chain::run, "first"_a, "last"_a, py::call_guard<py::gil_scoped_release>());
}
