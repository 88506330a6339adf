/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the extension share: its types. */
#ifndef NS_CORE_MODULE_H
#define NS_CORE_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "capture.h"

struct ns_walk {
	PyObject_HEAD struct capture capture;
};

/* The module's columns() and rows(). */
extern const char ns_columns_doc[], ns_rows_doc[];
PyObject *ns_columns(PyObject *module, PyObject *arguments);
PyObject *ns_rows(PyObject *module, PyObject *arguments);

extern PyTypeObject ns_flow_table_type;
extern PyTypeObject ns_key_table_type;
extern PyTypeObject ns_merge_type;
extern PyTypeObject ns_sliding_count_type;
extern PyTypeObject ns_sliding_spread_type;
extern PyTypeObject ns_walk_type;

#endif
