// Package linear tests netmaster's bad days from outside: clients do random operations on objects of all types, through
// several netmasters that are killed, stopped and paused and on stores that go away, and what they were answered must
// be what one netmaster that never fails could have answered, doing one operation after the other.
//
// The clients record a history, whose sequential model is a page of arithmetic that shares no code with netmaster;
// porcupine looks for an order of the history that the model allows. Answers that never came may have been done or
// not. CONTIV_LINEAR_TIME makes the runs longer (a duration), CONTIV_LINEAR_SEED repeats the choices of one, and histories
// without an order are drawn in CONTIV_LINEAR_DIR.
package linear
