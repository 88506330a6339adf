// SPDX-License-Identifier: BSD-2-Clause
/*
 * columns() and rows(): a table of bytes as the columns that vary, and back. Rows are walked in
 * blocks that stay in the cache while each of their columns is read.
 */
#include "core_module.h"

enum { BLOCK_ROWS = 128, MAX_ROW_BYTES = 256 };

const char ns_columns_doc[] =
	"columns(table, row_bytes, /)\n--\n\n"
	"Give the numbers of the columns that are not the same in every row (u8[n]) and those\n"
	"columns one after the other, both as bytes. row_bytes: a multiple of 8, at most 256; the\n"
	"table has one row or more. Raises ValueError for other sizes.";

const char ns_rows_doc[] =
	"rows(first, varying, columns, rows, /)\n--\n\n"
	"Give the table that columns() took apart; first: its first row. Raises ValueError when\n"
	"they do not fit each other.";

static size_t find_varying(const ns_u8 *table, size_t rows, size_t row_bytes, ns_u8 *varying)
{
	ns_u64 first[MAX_ROW_BYTES / 8], differing[MAX_ROW_BYTES / 8] = {0}, word;
	size_t words = row_bytes / 8, used = 0;

	memcpy(first, table, row_bytes);
	for (size_t i = 1; i < rows; i++) {
		for (size_t j = 0; j < words; j++) {
			memcpy(&word, table + i * row_bytes + 8 * j, sizeof(word));
			differing[j] |= word ^ first[j];
		}
	}
	for (size_t i = 0; i < row_bytes; i++) {
		if (((const ns_u8 *)differing)[i])
			varying[used++] = (ns_u8)i;
	}
	return used;
}

static void take_columns(const ns_u8 *table, size_t rows, size_t row_bytes, const ns_u8 *varying,
			 size_t number, ns_u8 *columns)
{
	for (size_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
		size_t end = begin + BLOCK_ROWS < rows ? begin + BLOCK_ROWS : rows;

		for (size_t j = 0; j < number; j++) {
			for (size_t i = begin; i < end; i++)
				columns[j * rows + i] = table[i * row_bytes + varying[j]];
		}
	}
}

static void put_columns(ns_u8 *table, size_t rows, size_t row_bytes, const ns_u8 *first,
			const ns_u8 *varying, size_t number, const ns_u8 *columns)
{
	for (size_t begin = 0; begin < rows; begin += BLOCK_ROWS) {
		size_t end = begin + BLOCK_ROWS < rows ? begin + BLOCK_ROWS : rows;

		for (size_t i = begin; i < end; i++)
			memcpy(table + i * row_bytes, first, row_bytes);
		for (size_t j = 0; j < number; j++) {
			for (size_t i = begin; i < end; i++)
				table[i * row_bytes + varying[j]] = columns[j * rows + i];
		}
	}
}

PyObject *ns_columns(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	ns_u8 varying[MAX_ROW_BYTES];
	PyObject *columns = NULL;
	unsigned int row_bytes;
	size_t rows, number;
	Py_buffer table;

	if (!PyArg_ParseTuple(arguments, "y*I", &table, &row_bytes))
		return NULL;
	if (!row_bytes || row_bytes % 8 || row_bytes > MAX_ROW_BYTES || !table.len ||
	    table.len % row_bytes) {
		PyErr_SetString(PyExc_ValueError, "columns: rows of 8 to 256 bytes, one or more");
		goto release;
	}
	rows = (size_t)table.len / row_bytes;
	number = find_varying(table.buf, rows, row_bytes, varying);
	columns = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(rows * number));
	if (!columns)
		goto release;
	Py_BEGIN_ALLOW_THREADS take_columns(table.buf, rows, row_bytes, varying, number,
					    (ns_u8 *)PyBytes_AS_STRING(columns));
	Py_END_ALLOW_THREADS columns =
		Py_BuildValue("y#N", (const char *)varying, (Py_ssize_t)number, columns);
release:
	PyBuffer_Release(&table);
	return columns;
}

static int fits(const Py_buffer *first, const Py_buffer *varying, const Py_buffer *columns,
		Py_ssize_t rows)
{
	const ns_u8 *number = varying->buf;

	if (rows < 0 || first->len > MAX_ROW_BYTES || rows > PY_SSIZE_T_MAX / (MAX_ROW_BYTES + 1) ||
	    varying->len > first->len || columns->len != rows * varying->len)
		return 0;
	for (Py_ssize_t i = 0; i < varying->len; i++) {
		if (number[i] >= first->len)
			return 0;
	}
	return 1;
}

static PyObject *table_of(const Py_buffer *first, const Py_buffer *varying,
			  const Py_buffer *columns, Py_ssize_t rows)
{
	PyObject *table = PyBytes_FromStringAndSize(NULL, rows * first->len);
	ns_u8 *at;

	if (!table)
		return NULL;
	at = (ns_u8 *)PyBytes_AS_STRING(table);
	Py_BEGIN_ALLOW_THREADS put_columns(at, (size_t)rows, (size_t)first->len, first->buf,
					   varying->buf, (size_t)varying->len, columns->buf);
	Py_END_ALLOW_THREADS return table;
}

PyObject *ns_rows(PyObject *Py_UNUSED(module), PyObject *arguments)
{
	Py_buffer first, varying, columns;
	PyObject *table = NULL;
	Py_ssize_t rows;

	if (!PyArg_ParseTuple(arguments, "y*y*y*n", &first, &varying, &columns, &rows))
		return NULL;
	if (fits(&first, &varying, &columns, rows))
		table = table_of(&first, &varying, &columns, rows);
	else
		PyErr_SetString(PyExc_ValueError, "rows: columns of other lengths");
	PyBuffer_Release(&first);
	PyBuffer_Release(&varying);
	PyBuffer_Release(&columns);
	return table;
}
