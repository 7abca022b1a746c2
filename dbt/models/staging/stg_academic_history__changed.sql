{{ list_of_changed(['school_id', 'student_id']) }}
