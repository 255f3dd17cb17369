// The rules' scalar functions over arrays.
#include "rule.h"

using namespace relprop::bind;
using namespace relprop::math;

namespace {

template <class Rule>
constexpr bool has_parts = Rule::max_parts > 0;

// The same, for a rule that has parts.
template <class T, class F>
py::object with_parts(py::handle rule, F&& f) {
  return with_rule<T>(rule, [&](const auto& compiled) -> py::object {
    if constexpr (has_parts<std::decay_t<decltype(compiled)>>) return f(compiled);
    throw py::value_error("rule '" + std::string(compiled.name) + "' has no parts");
  });
}

// y = f(rule, x) for each element, where p is one of the rule's parts.
template <class F>
py::object map_part(py::handle rule, int p, const char* name, const py::array& x, F&& f) {
  return with_dtype(name, x, [&](auto zero) {
    using T = decltype(zero);
    return with_parts<T>(rule, [&](const auto& compiled) -> py::object {
      if (p < 0 || p >= compiled.parts())
        throw py::value_error("p is " + std::to_string(p) + ", expected 0 to " + std::to_string(compiled.parts() - 1));
      const auto in = matching<T>(name, x, x);
      auto out = empty_like<T>(x);
      for (py::ssize_t i = 0; i < in.size(); ++i) out.mutable_data()[i] = f(compiled, in.data()[i]);
      return out;
    });
  });
}

py::object input_part(py::handle rule, int p, const py::array& x) {
  return map_part(rule, p, "x", x, [p](const auto& r, auto v) { return r.input_part(p, v); });
}

py::object weight_part(py::handle rule, int p, const py::array& w) {
  return map_part(rule, p, "w", w, [p](const auto& r, auto v) { return r.weight_part(p, v); });
}

py::object bias_part(py::handle rule, int p, const py::array& b) {
  return map_part(rule, p, "b", b, [p](const auto& r, auto v) { return r.bias_part(p, v); });
}

template <class T>
std::vector<Array<T>> matching_all(const char* name, const py::sequence& arrays, int count, const py::array& like) {
  if (arrays.size() != static_cast<std::size_t>(count))
    throw py::value_error(std::string(name) + " holds " + std::to_string(arrays.size()) + " arrays, expected " +
                          std::to_string(count));
  std::vector<Array<T>> all;
  for (py::handle a : arrays) all.push_back(matching<T>(name, py::cast<py::array>(a), like));
  return all;
}

// f(rule, i, z of element i, the ε that act on it) for each element of `like`.
template <class T, class Rule, class F>
void for_each_unit(const Rule& rule, const py::array& like, const py::sequence& z, const py::sequence& mean_squares, F&& f) {
  const bool rms = rule.stabilizer == Stabilizer::rms;
  const auto parts = matching_all<T>("z", z, rule.parts(), like);
  const auto squares = matching_all<T>("mean_squares", mean_squares, rms ? Rule::denominators : 0, like);
  T z_i[Rule::max_parts] = {}, e_i[Rule::denominators];
  for (py::ssize_t i = 0; i < like.size(); ++i) {
    for (std::size_t p = 0; p < parts.size(); ++p) z_i[p] = parts[p].data()[i];
    for (std::size_t k = 0; k < Rule::denominators; ++k)
      e_i[k] = acting_epsilon(rule.epsilon, rule.stabilizer, rms ? squares[k].data()[i] : T(0));
    f(i, z_i, e_i);
  }
}

py::object denominators(py::handle rule, const py::sequence& z) {
  const auto first = py::cast<py::array>(z[0]);
  return with_dtype("z", first, [&](auto zero) {
    using T = decltype(zero);
    return with_parts<T>(rule, [&](const auto& compiled) -> py::object {
      const auto parts = matching_all<T>("z", z, compiled.parts(), first);
      py::tuple all(static_cast<std::size_t>(compiled.denominators));
      for (int k = 0; k < compiled.denominators; ++k) {
        auto out = empty_like<T>(first);
        std::vector<T> z_i(parts.size());
        for (py::ssize_t i = 0; i < first.size(); ++i) {
          for (std::size_t p = 0; p < parts.size(); ++p) z_i[p] = parts[p].data()[i];
          out.mutable_data()[i] = compiled.denominator(k, z_i.data());
        }
        all[static_cast<std::size_t>(k)] = out;
      }
      return all;
    });
  });
}

py::object split(py::handle rule, const py::array& R, const py::sequence& z, const py::sequence& mean_squares) {
  return with_dtype("R", R, [&](auto zero) {
    using T = decltype(zero);
    return with_parts<T>(rule, [&](const auto& compiled) -> py::object {
      using Rule = std::decay_t<decltype(compiled)>;
      const auto in = matching<T>("R", R, R);
      const auto parts = static_cast<std::size_t>(compiled.parts());
      std::vector<Array<T>> shares;
      for (std::size_t p = 0; p < parts; ++p) shares.push_back(empty_like<T>(R));
      for_each_unit<T>(compiled, R, z, mean_squares, [&](py::ssize_t i, const T* z_i, const T* e_i) {
        T s[Rule::max_parts];
        compiled.split(in.data()[i], z_i, e_i, s);
        for (std::size_t p = 0; p < parts; ++p) shares[p].mutable_data()[i] = s[p];
      });
      py::tuple all(parts);
      for (std::size_t p = 0; p < parts; ++p) all[p] = shares[p];
      return all;
    });
  });
}

py::object kept(py::handle rule, const py::array& R, const py::sequence& z, const py::sequence& mean_squares) {
  return with_dtype("R", R, [&](auto zero) {
    using T = decltype(zero);
    return with_parts<T>(rule, [&](const auto& compiled) -> py::object {
      const auto in = matching<T>("R", R, R);
      auto by_stabilizer = empty_like<T>(R), dropped = empty_like<T>(R);
      for_each_unit<T>(compiled, R, z, mean_squares, [&](py::ssize_t i, const T* z_i, const T* e_i) {
        compiled.kept(in.data()[i], z_i, e_i, by_stabilizer.mutable_data()[i], dropped.mutable_data()[i]);
      });
      return py::make_tuple(by_stabilizer, dropped);
    });
  });
}

// (parts, plain part or None, which parts have inputs) under a rule's options.
py::object parts(py::handle rule) {
  return with_rule<double>(rule, [](const auto& compiled) -> py::object {
    py::list has_input;
    if constexpr (has_parts<std::decay_t<decltype(compiled)>>)
      for (int p = 0; p < compiled.parts(); ++p) has_input.append(compiled.has_input(p));
    const int plain = compiled.plain_part();
    return py::make_tuple(compiled.parts(), plain < 0 ? py::object(py::none()) : py::int_(plain), py::tuple(has_input));
  });
}

// (name, most parts, fields) of every compiled rule, in the order of FOR_EACH_RULE.
py::list list_of_rules() {
  py::list all;
  const auto add = [&](auto rule) {
    all.append(py::make_tuple(rule.name, rule.max_parts, field_names<decltype(rule)>()));
  };
#define RELPROP_ADD(Rule) add(Rule<double>{});
  FOR_EACH_RULE(RELPROP_ADD)
#undef RELPROP_ADD
  return all;
}

}  // namespace

void bind_rules(py::module_& module) {
  using namespace py::literals;
  module.def("rule_list", &list_of_rules);
  module.def("rule_parts", &parts, "rule"_a);
  module.def("rule_input_part", &input_part, "rule"_a, "p"_a, "x"_a);
  module.def("rule_weight_part", &weight_part, "rule"_a, "p"_a, "w"_a);
  module.def("rule_bias_part", &bias_part, "rule"_a, "p"_a, "b"_a);
  module.def("rule_denominators", &denominators, "rule"_a, "z"_a);
  module.def("rule_split", &split, "rule"_a, "R"_a, "z"_a, "mean_squares"_a = py::tuple());
  module.def("rule_kept", &kept, "rule"_a, "R"_a, "z"_a, "mean_squares"_a = py::tuple());
}
