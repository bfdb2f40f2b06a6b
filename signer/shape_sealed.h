/* SPDX-License-Identifier: ISC */
/*
 * Whether what calls itself encrypted holds a whole ciphertext and nothing
 * beside it, as far as that shows without a key.  Of what our own people
 * send: a label alone is soon written, and then it would leave as it came.
 */
#ifndef SIGNER_SHAPE_SEALED_H
#define SIGNER_SHAPE_SEALED_H

#include "signer/shape.h"

/*
 * Sets shape->is_sealed.  What is too large to be looked at, or in a form that
 * is not known here, is not sealed: then it is encrypted once more.
 */
void shape_look_sealed(const struct content *message, struct shape *shape);

#endif
