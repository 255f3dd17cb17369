// The one list of rules, in the order of pyref.RULES.
#pragma once

#include "alpha_beta.h"
#include "epsilon.h"
#include "flat.h"
#include "gamma.h"
#include "norm.h"
#include "pass_.h"
#include "w_square.h"
#include "z_box.h"
#include "z_plus.h"

#define FOR_EACH_RULE(_) _(Epsilon) _(Gamma) _(AlphaBeta) _(ZPlus) _(WSquare) _(Flat) _(ZBox) _(Norm) _(Pass)
